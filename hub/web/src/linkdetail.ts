// The chosen link's details, asked for again while it is chosen.

import { computed, effect, signal } from '@preact/signals';
import { frames } from './city';
import type { LinkDetail } from './contract';
import { hub, HubError } from './hub';
import { linkId } from './place';

const EVERY_MS = 3_000;

export const detail = signal<LinkDetail | null>(null);
/** The link that the hub does not know. */
export const missing = signal<string | null>(null);

/** Before the first picture the hub has nothing to say of a link. */
const alive = computed(() => frames.value > 0);

export function followLink(): void {
  effect(() => {
    const wanted = linkId.value;
    if (wanted === null || !alive.value) return undefined;
    const stop = new AbortController();
    void follow(wanted, stop.signal);
    return () => stop.abort();
  });
}

async function follow(wanted: string, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      if (!document.hidden || detail.value?.link_id !== wanted) {
        const answer = await hub.link(wanted, stop);
        if (stop.aborted) return;
        detail.value = answer;
        missing.value = null;
      }
    } catch (error) {
      if (stop.aborted) return;
      if (error instanceof HubError && error.status === 404) {
        missing.value = wanted;
        return;
      } // else the hub is away: the notice says so, and the next round asks again
    }
    await new Promise((done) => window.setTimeout(done, EVERY_MS));
  }
}
