// Marks: all that the map shows beside links and alerts: places, equipment that does not work, sensors not believed.

import { computed, signal } from '@preact/signals';
import { city, type City } from './city';
import { THEMES, type OutAsset, type Place, type Suspect, type Theme } from './contract';
import { middleOf, toLonLat } from './geometry';
import { language, number, pick, t } from './language';
import { outage } from './outage';
import { hiddenLayers } from './place';
import { places, suspects } from './places';
import { wordingOf } from './quantity';

export const LAYERS = [...THEMES, 'equipment', 'suspects'] as const;
export type Layer = (typeof LAYERS)[number];

export type Subject = { place: Place } | { asset: OutAsset } | { suspect: Suspect };

export interface Mark {
  key: string;
  layer: Layer;
  /** Name of its picture. */
  icon: string;
  lonLat: [number, number];
  /** What stands beside the picture; only what deviates says so from afar. */
  label: string;
  /** 0 ordinary, 1 raised, 2 high: the higher on top. */
  level: number;
  subject: Subject;
}

/** The mark whose details are shown, by key. */
export const chosenMark = signal<string | null>(null);

export const keyOfPlace = (place: Place): string => `${place.theme}:${place.sensor_id}`;
export const keyOfAsset = (asset: OutAsset): string => `asset:${asset.asset_id}`;
export const keyOfSuspect = (suspect: Suspect): string => `suspect:${suspect.sensor_id}:${suspect.code}:${suspect.quantity ?? ''}`;

/** Nothing newer came when it should have: the value is of the past. */
export const isOld = (place: Place): boolean => place.silent || place.dark || place.age_s === null;

/** Which value stands for a place. */
export function headline(place: Place): string {
  if (place.full_share !== null) return `${number(100 * place.full_share)} %`;
  const worst = place.values.reduce<Place['values'][number] | null>((best, value) => (best === null || value.level > best.level ? value : best), null);
  if (worst === null) return t('noData');
  if (place.theme === 'event') return (worst.value ?? 0) > 0 ? t('eventOn') : t('eventOff');
  return valueText(worst.quantity, worst.value);
}

export function valueText(key: string, value: number | null): string {
  const { unit, digits, factor } = wordingOf(key);
  return `${number(value === null ? null : value * factor, digits)} ${unit}`.trimEnd();
}

export const nameOf = (place: Place): string => pick({ en: place.name, zh: place.name_zh });

/** Where something is: its link, for what stands on one, else its own place. */
export function spotOf(of: City, thing: { link_id: string | null; lon_lat: [number, number] | null }): [number, number] | null {
  if (thing.lon_lat) return thing.lon_lat;
  const link = thing.link_id === null ? undefined : of.position.get(thing.link_id);
  if (link === undefined) return null;
  const { x, y } = middleOf(of.geometry, link);
  return toLonLat(of.geometry, x, y);
}

function marksOf(now: City): Mark[] {
  const found: Mark[] = [];
  const add = (mark: Omit<Mark, 'lonLat'>, lonLat: [number, number] | null): void => {
    if (lonLat && !hiddenLayers.value.has(mark.layer)) found.push({ ...mark, lonLat });
  };
  for (const place of places.value) {
    const old = isOld(place);
    const level = old ? 0 : place.level;
    const icon = `${place.theme}-${old ? 'old' : level}`;
    add({ key: keyOfPlace(place), layer: place.theme, icon, label: old ? '' : headline(place), level, subject: { place } }, spotOf(now, place));
  }
  for (const asset of outage.value?.assets ?? []) {
    const icon = `asset-${asset.kind === 'signal' || asset.kind === 'controller' ? 'signal' : 'other'}-${asset.state}`;
    const level = asset.state === 'failed' ? 2 : 1;
    add({ key: keyOfAsset(asset), layer: 'equipment', icon, label: asset.asset_id, level, subject: { asset } }, spotOf(now, asset));
  }
  for (const suspect of suspects.value?.suspects ?? []) {
    const icon = `suspect-${suspect.code === 'silent' || suspect.code === 'stuck' ? suspect.code : 'suspected'}`;
    add({ key: keyOfSuspect(suspect), layer: 'suspects', icon, label: suspect.sensor_id, level: 1, subject: { suspect } }, spotOf(now, suspect));
  }
  return found;
}

export const marks = computed<readonly Mark[]>(() => {
  void language.value; // labels are in it
  return city.value ? marksOf(city.value) : [];
});

export const chosen = computed<Mark | null>(() => marks.value.find((mark) => mark.key === chosenMark.value) ?? null);

/** How many marks a layer has, shown or not, and how many of them deviate. */
export function countOf(layer: Layer): { all: number; high: number } {
  if (layer === 'equipment') {
    const all = outage.value?.assets.length ?? 0;
    return { all, high: all };
  }
  if (layer === 'suspects') {
    const all = suspects.value?.suspects.length ?? 0;
    return { all, high: all };
  }
  const own = placesOf(layer);
  return { all: own.length, high: own.filter((place) => place.level > 0 && !isOld(place)).length };
}

/** Those of a theme, what deviates first. */
export function placesOf(theme: Theme): Place[] {
  return places.value.filter((place) => place.theme === theme).sort((a, b) => rank(b) - rank(a) || nameOf(a).localeCompare(nameOf(b)));
}

const rank = (place: Place): number => (isOld(place) ? -1 : place.level);

export function toggleLayer(layer: Layer): void {
  const next = new Set(hiddenLayers.value);
  if (!next.delete(layer)) next.add(layer);
  hiddenLayers.value = next;
}
