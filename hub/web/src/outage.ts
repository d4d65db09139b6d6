// The equipment that does not simply work, asked for again and again: a battery runs out without anybody saying so.

import { signal } from '@preact/signals';
import type { Outage } from './contract';
import { hub } from './hub';

const EVERY_MS = 10_000;

export const outage = signal<Outage | null>(null);

export async function loadOutage(): Promise<void> {
  try {
    outage.value = await hub.outage();
  } catch {
    // The hub is away: the notice says so, the list stays as old as the map, and the next round asks again.
  }
}

export function followOutage(): void {
  window.setInterval(() => {
    if (!document.hidden) void loadOutage();
  }, EVERY_MS);
}
