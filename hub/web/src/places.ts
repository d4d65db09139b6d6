// What is measured beside traffic, and which sensors are not believed, asked for again and again.

import { signal } from '@preact/signals';
import type { Place, Suspects } from './contract';
import { hub } from './hub';

const PLACES_EVERY_MS = 5_000;
const SUSPECTS_EVERY_MS = 10_000;

export const places = signal<readonly Place[]>([]);
export const suspects = signal<Suspects | null>(null);

/** The hub being away is said by the notice; the lists stay as old as the map, and the next round asks again. */
export async function loadPlaces(): Promise<void> {
  try {
    places.value = await hub.places();
  } catch {
    // see above
  }
}

export async function loadSuspects(): Promise<void> {
  try {
    suspects.value = await hub.suspects();
  } catch {
    // see above
  }
}

export function followPlaces(): void {
  const seen = (load: () => Promise<void>) => () => {
    if (!document.hidden) void load();
  };
  window.setInterval(seen(loadPlaces), PLACES_EVERY_MS);
  window.setInterval(seen(loadSuspects), SUSPECTS_EVERY_MS);
}
