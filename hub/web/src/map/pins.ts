// Alert pins: shape and number say the priority, filled until acknowledged.

import type { Map } from 'maplibre-gl';
import type { Alert, Severity } from '../contract';
import { SEVERITIES, shapePath } from '../severity';

const SIZE = 26; // CSS pixels
const SCALE = 2;

const iconOf = (severity: Severity, filled: boolean): string => `priority-${severity}-${filled ? 'new' : 'seen'}`;

export function addPinImages(map: Map): void {
  for (const severity of SEVERITIES)
    for (const filled of [true, false])
      map.addImage(iconOf(severity.number, filled), drawPin(severity.number, severity.colour, filled), { pixelRatio: SCALE });
}

function drawPin(severity: Severity, colour: string, filled: boolean): ImageData {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIZE * SCALE;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  if (!pen) throw new Error('this browser draws no 2-D canvas');
  pen.scale((SIZE * SCALE) / 26, (SIZE * SCALE) / 26);
  pen.translate(2, 2);
  const path = new Path2D(shapePath(severity));
  pen.lineJoin = 'round';
  pen.strokeStyle = '#FFFFFF';
  pen.lineWidth = 5;
  pen.stroke(path);
  pen.fillStyle = filled ? colour : '#FFFFFF';
  pen.fill(path);
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.stroke(path);
  pen.fillStyle = filled ? '#FFFFFF' : colour;
  pen.font = '700 12px system-ui, sans-serif';
  pen.textAlign = 'center';
  pen.fillText(String(severity), 11, severity === 2 ? 17 : 15.2);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

export function pinFeatures(
  alerts: readonly Alert[],
  placeOf: (alert: Alert) => [number, number] | null,
): GeoJSON.FeatureCollection {
  const features: GeoJSON.Feature[] = [];
  for (const alert of alerts) {
    const coordinates = placeOf(alert);
    if (!coordinates) continue;
    features.push({
      type: 'Feature',
      properties: { alert: String(alert.id), severity: alert.severity, icon: iconOf(alert.severity, alert.handling === 'new') },
      geometry: { type: 'Point', coordinates },
    });
  }
  return { type: 'FeatureCollection', features };
}
