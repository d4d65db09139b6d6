// Pictures of marks: what it is says the sign, how high the value is says the frame, in greyscale as well.

import type { Map } from 'maplibre-gl';
import { THEMES, type AssetCondition, type Theme } from '../contract';
import type { Mark } from '../marks';

const SIZE = 24; // CSS pixels
const SCALE = 2;
const INK = '#1C2226';
const QUIET = '#76838A';
const RAISED = '#9C7413';
const HIGH = '#78122F';

interface Look {
  shape: string;
  fill: string;
  edge: string;
  width: number;
  dashed: boolean;
  sign: string;
  ink: string;
}

const SQUARE = 'M5 2h14a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H5a3 3 0 0 1-3-3V5a3 3 0 0 1 3-3z';
const ROUND = 'M12 2a10 10 0 1 0 0 20a10 10 0 1 0 0-20z';
const HEXAGON = 'M12 1.5l9 5.2v10.6l-9 5.2l-9-5.2V6.7z';
/** Drawn as lines in a square of 24. */
export const SIGNS: Record<string, string> = {
  weather: 'M12 5.5c-2.6 3.4-4.4 5.7-4.4 8a4.4 4.4 0 0 0 8.8 0c0-2.3-1.8-4.6-4.4-8z',
  air: 'M6 9.5h8a2 2 0 1 0-2-2M6 12.7h11M6 15.9h7.5a2 2 0 1 1-2 2',
  parking: 'M9 18V6.5h3.7a3.4 3.4 0 0 1 0 6.8H9',
  transit: 'M7 17.5V6.8l5 7l5-7v10.7',
  event: 'M12 5.2l2 4.6l4.9.4l-3.7 3.3l1.1 4.9l-4.3-2.6l-4.3 2.6l1.1-4.9l-3.7-3.3l4.9-.4z',
  failed: 'M7.5 7.5l9 9M16.5 7.5l-9 9',
  dark: 'M6 18L18 6',
  unheard: 'M8 12h.1M12 12h.1M16 12h.1',
  on_battery: 'M7 9h9v6H7zM17.5 11v2',
  lights: 'M9 5.5h6v13H9zM12 8h.1M12 12h.1M12 16h.1',
  suspected: 'M9.2 9.5a2.8 2.8 0 1 1 4.2 2.4c-1 .6-1.4 1-1.4 2.1M12 17.2h.1',
  stuck: 'M8 10h8M8 14h8',
  silent: 'M8 12h.1M12 12h.1M16 12h.1',
};

function themeLook(theme: Theme, step: 0 | 1 | 2 | 'old'): Look {
  const plain = { shape: SQUARE, sign: SIGNS[theme], dashed: false };
  if (step === 'old') return { ...plain, fill: '#FFFFFF', edge: QUIET, width: 1.5, dashed: true, ink: QUIET };
  if (step === 0) return { ...plain, fill: '#FFFFFF', edge: QUIET, width: 1.5, ink: '#4D5960' };
  if (step === 1) return { ...plain, fill: '#FFFFFF', edge: RAISED, width: 3, ink: INK };
  return { ...plain, fill: HIGH, edge: HIGH, width: 2, ink: '#FFFFFF' };
}

/** What failed is filled, what hangs on it is not; of signals the lights are drawn, struck through. */
function assetLook(state: AssetCondition, signal: boolean): Look {
  const failed = state === 'failed';
  const sign = signal ? `${SIGNS.lights}${state === 'on_battery' ? '' : 'M5.5 18.5L18.5 5.5'}` : SIGNS[state];
  return { shape: ROUND, sign, fill: failed ? INK : '#FFFFFF', edge: INK, width: 2, dashed: state === 'unheard', ink: failed ? '#FFFFFF' : INK };
}

export function lookOf(icon: string): Look {
  const [what, second, third] = icon.split('-');
  if (what === 'asset') return assetLook(third as AssetCondition, second === 'signal');
  if (what === 'suspect') return { shape: HEXAGON, sign: SIGNS[second], fill: '#FFFFFF', edge: INK, width: 2, dashed: false, ink: INK };
  return themeLook(what as Theme, second === 'old' ? 'old' : (Number(second) as 0 | 1 | 2));
}

function draw(icon: string): ImageData {
  const look = lookOf(icon);
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIZE * SCALE;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  if (!pen) throw new Error('this browser draws no 2-D canvas');
  pen.scale(SCALE, SCALE);
  const shape = new Path2D(look.shape);
  pen.fillStyle = look.fill;
  pen.fill(shape);
  pen.strokeStyle = look.edge;
  pen.lineWidth = look.width;
  pen.setLineDash(look.dashed ? [3, 2.5] : []);
  pen.stroke(shape);
  pen.setLineDash([]);
  pen.strokeStyle = look.ink;
  pen.lineWidth = 2;
  pen.lineCap = pen.lineJoin = 'round';
  pen.stroke(new Path2D(look.sign));
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

const THEME_STEPS = [0, 1, 2, 'old'] as const;
const CONDITIONS: readonly AssetCondition[] = ['failed', 'dark', 'unheard', 'on_battery'];
const ICONS = [
  ...THEMES.flatMap((theme) => THEME_STEPS.map((step) => `${theme}-${step}`)),
  ...CONDITIONS.flatMap((state) => [`asset-signal-${state}`, `asset-other-${state}`]),
  ...['suspected', 'stuck', 'silent'].map((how) => `suspect-${how}`),
];

export function addMarkImages(map: Map): void {
  for (const icon of ICONS) map.addImage(icon, draw(icon), { pixelRatio: SCALE });
}

export function markFeatures(marks: readonly Mark[]): GeoJSON.FeatureCollection {
  return {
    type: 'FeatureCollection',
    features: marks.map(({ key, icon, label, level, lonLat }) => ({
      type: 'Feature',
      properties: { key, icon, label, level },
      geometry: { type: 'Point', coordinates: lonLat },
    })),
  };
}
