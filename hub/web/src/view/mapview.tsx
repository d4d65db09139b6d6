// The map's place on the page; the map itself is fetched when it is first seen, so that a phone's list comes at once.

import { effect, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { firing, keyOf } from '../alertbook';
import { city, nameOfLink, pictures, type City } from '../city';
import { RATIO_SCALE } from '../frame';
import { language, number, t } from '../language';
import { locateAlert, target } from '../locate';
import { chosenMark, marks } from '../marks';
import type { Camera, CityMap } from '../map/citymap';
import { chooseLink, goTo, linkId, view } from '../place';
import { wide } from '../screen';
import { DIFFERENCE_COLOURS, NO_DATA_COLOUR, stepOf, STEPS } from '../speed';
import { streetOf } from '../streetname';
import { backToLive, difference, differenceShown, run } from '../whatif';
import { tellOf } from '../window';
import { Layers } from './layers';
import { Legend } from './legend';
import { hovered, MarkCard, MarkTip } from './markcard';

const RETRY_MS = 2_000;

type Device = 'waiting' | 'drawn' | 'missing' | 'lost';
const device = signal<Device>('waiting');
const map = signal<CityMap | null>(null);

const SPEED_PALETTE = {
  colours: [...STEPS.map((step) => step.colour), NO_DATA_COLOUR],
  stretch: [0.8, 1, 1.15, 1.3, 1.45, 1], // what deviates is wider
  absent: STEPS.length,
};
const DIFFERENCE_PALETTE = { colours: DIFFERENCE_COLOURS, stretch: [1.7, 1.4, 1.1, 0.8, 1.1, 1.4, 1.7], absent: -1 };
const STEP_OF_RATIO = Uint8Array.from({ length: 256 }, (_, ratio) => stepOf(ratio));

function hasWebGl(): boolean {
  const context = document.createElement('canvas').getContext('webgl2');
  context?.getExtension('WEBGL_lose_context')?.loseContext(); // browsers allow few contexts
  return context !== null;
}

/** On a phone the map lies behind a tab. */
const visible = (): boolean => wide.value || view.value === 'map';

/** Make the map, again and again while the hub is too busy to hand out its parts. */
async function makeMap(container: HTMLElement, now: City, camera: Camera | null = null): Promise<void> {
  if (!hasWebGl()) {
    device.value = 'missing';
    return;
  }
  device.value = 'waiting';
  while (city.value === now) {
    try {
      await drawMap(container, now, camera);
      device.value = 'drawn';
      return;
    } catch (error) {
      console.warn('the map could not be made, trying again', error);
      dropMap();
      await new Promise((done) => window.setTimeout(done, RETRY_MS));
    }
  }
}

async function drawMap(container: HTMLElement, now: City, camera: Camera | null): Promise<void> {
  const { CityMap } = await import('../map/citymap');
  if (city.value !== now) return;
  const choices = {
    onLink: (link: number) => chooseLink(now.network.link_ids[link]),
    onAlert: (id: string) => {
      const alert = firing.value.find((candidate) => keyOf(candidate) === id);
      if (alert) locateAlert(alert);
    },
    onMark: (key: string | null) => (chosenMark.value = key),
    onHover: (key: string | null, x: number, y: number) => (hovered.value = key === null ? null : { key, x, y }),
    onDevice: (present: boolean) => {
      device.value = present ? 'waiting' : 'lost';
      // MapLibre brings its own layers back, but not ours; and not while it is still telling us.
      if (present) window.setTimeout(() => remake(container, now, made.camera()));
    },
  };
  const made = new CityMap(container, now, language.value, t('mapLabel'), choices, camera);
  map.value = made;
  tellOf(made);
  const chosen = linkId.value === null ? undefined : now.position.get(linkId.value);
  if (chosen !== undefined && camera === null) made.locateLink(chosen);
  await made.drawn();
}

function remake(container: HTMLElement, now: City, camera: Camera): void {
  if (city.value !== now) return;
  dropMap();
  void makeMap(container, now, camera);
}

function dropMap(): void {
  map.value?.remove();
  map.value = null;
  tellOf(null);
}

/** What the page knows goes to the map as it changes. */
function feed(made: CityMap, now: City): () => void {
  const steps = new Uint8Array(now.geometry.nLinks);
  const stops = [
    effect(() => {
      if (!visible()) return;
      void pictures.value;
      const changed = differenceShown.value ? difference.value : null;
      if (changed) {
        made.paint(changed.step, null, DIFFERENCE_PALETTE);
        return;
      }
      now.picture.ratio.forEach((ratio, link) => (steps[link] = STEP_OF_RATIO[ratio]));
      made.paint(steps, now.picture.source, SPEED_PALETTE);
    }),
    effect(() => made.select(linkId.value === null ? null : (now.position.get(linkId.value) ?? null))),
    effect(() => made.setAlerts(differenceShown.value && difference.value ? [] : firing.value)), // pins are of now
    effect(() => made.setMarks(differenceShown.value && difference.value ? [] : marks.value)),
    effect(() => made.setLanguage(language.value, t('mapLabel'))),
    effect(() => {
      const wanted = target.value;
      if (wanted === null) return;
      if ('link' in wanted) made.locateLink(wanted.link);
      else made.locate(wanted.place);
    }),
  ];
  return () => stops.forEach((stop) => stop());
}

export function MapView() {
  const container = useRef<HTMLDivElement>(null);
  const now = city.value;
  const seen = useRef(false);
  seen.current ||= visible();

  useEffect(() => {
    if (now && seen.current && container.current) void makeMap(container.current, now);
  }, [now, seen.current]);
  useEffect(() => dropMap, [now]);
  useEffect(() => (map.value && now ? feed(map.value, now) : undefined), [map.value, now]);

  return (
    <section class="map" id="map" aria-label={t('map')} tabIndex={-1}>
      <div class="canvas" ref={container} />
      <div class="crosshair" aria-hidden="true" />
      {device.value !== 'drawn' && <p class="map-note">{t(({ waiting: 'loadingMap', missing: 'mapMissing', lost: 'mapLost' } as const)[device.value])}</p>}
      {device.value !== 'missing' && <Controls />}
      {device.value !== 'missing' && <Layers />}
      <MarkTip />
      <MarkCard />
      <DifferenceBar />
      <div class="map-foot">
        <Chosen />
        {device.value !== 'missing' && <Legend />}
        <Notes />
      </div>
    </section>
  );
}

function Controls() {
  const buttons = [
    { word: 'zoomIn', path: 'M8 3v10M3 8h10', act: () => map.value?.zoomBy(1) },
    { word: 'zoomOut', path: 'M3 8h10', act: () => map.value?.zoomBy(-1) },
    { word: 'wholeCity', path: 'M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3', act: () => map.value?.wholeCity() },
  ] as const;
  return (
    <div class="controls">
      {buttons.map(({ word, path, act }) => (
        <button key={word} type="button" aria-label={t(word)} title={t(word)} onClick={act}>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d={path} fill="none" stroke="currentColor" stroke-width="2" />
          </svg>
        </button>
      ))}
    </div>
  );
}

/** Nobody may take a difference for the live city. */
function DifferenceBar() {
  if (run.value?.state !== 'done' || !differenceShown.value) return null;
  return (
    <div class="difference-bar" role="status">
      <span>
        <b>{t('differenceOnMap')}</b> {t('basis')}
      </span>
      <button type="button" onClick={backToLive}>
        {t('backToLive')}
      </button>
    </div>
  );
}

/** On a phone the panel is behind a tab: the chosen link's name and speed stay with the map. */
function Chosen() {
  void pictures.value;
  const now = city.value;
  const link = linkId.value === null ? undefined : now?.position.get(linkId.value);
  if (!now || link === undefined) return null;
  const ratio = now.picture.ratio[link];
  const step = STEPS[stepOf(ratio)];
  return (
    <button type="button" class="chosen-link only-phone" onClick={() => goTo('link')}>
      <span>
        <b>{streetOf(nameOfLink(now, link))}</b>
        <span>{step ? `${t(step.key)} · ${number((ratio / RATIO_SCALE) * 100)} ${t('ofFreeFlow')}` : t('noData')}</span>
      </span>
      <span>{t('details')} ›</span>
    </button>
  );
}

function Notes() {
  const notes = city.value?.network.notes ?? [];
  if (notes.length === 0) return null;
  return (
    <details class="notes">
      <summary>{t('notes')}</summary>
      <ul>
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
    </details>
  );
}
