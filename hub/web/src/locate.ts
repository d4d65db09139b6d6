// Bringing a link or an alert into sight, whoever asks: list, table, pin or search.

import { signal } from '@preact/signals';
import { city } from './city';
import type { Alert } from './contract';
import { chosenMark } from './marks';
import { chooseLink, goTo, hiddenLayers } from './place';

/** What the map shall move to; a fresh object each time, so that asking twice moves twice. */
export type Target = { link: number } | { place: [number, number] };
export const target = signal<Target | null>(null);

export function showLink(link: number): void {
  const now = city.value;
  if (!now) return;
  chooseLink(now.network.link_ids[link]);
  target.value = { link };
}

export function locateLinkOf(id: string): void {
  const link = city.value?.position.get(id);
  if (link !== undefined) showPlace({ link });
}

export function locateAlert(alert: Alert): void {
  const link = alert.link_id === null ? undefined : city.value?.position.get(alert.link_id);
  if (link !== undefined) showPlace({ link });
  else if (alert.lon !== null && alert.lat !== null) showPlace({ place: [alert.lon, alert.lat] });
}

/** Show a mark and its details; its layer is switched on, for who asks for it wants to see it. */
export function showMark(key: string, layer: string, place: [number, number] | null): void {
  if (hiddenLayers.value.has(layer)) hiddenLayers.value = new Set([...hiddenLayers.value].filter((name) => name !== layer));
  chosenMark.value = key;
  if (place) target.value = { place };
  goTo('map');
}

export function showPlace(wanted: Target): void {
  if ('link' in wanted) showLink(wanted.link);
  else target.value = { place: wanted.place };
  goTo('map');
}
