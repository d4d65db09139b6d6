// What if a link were closed: start a run, follow it, and keep its difference for table and map.

import { computed, effect, signal } from '@preact/signals';
import type { Run } from './contract';
import { city, nameOfLink } from './city';
import { hub, HubError } from './hub';
import { language } from './language';
import { runId } from './place';
import { differenceBounds, differenceStep } from './speed';

const CLOSED_S = 30 * 60;
/** Queues of a closure outlast it; the run goes on for this long to count them. */
const AFTERWARDS_S = 60 * 60;
const POLL_MS = 500;

export const run = signal<Run | null>(null);
export const failure = signal<string | null>(null);
/** Whether the map shows the difference instead of live speed. */
export const differenceShown = signal(true);

/** Per link of the network: change of delay, veh·h; null while there is none to show. */
export const difference = computed(() => {
  const links = run.value?.state === 'done' ? run.value.links : undefined;
  const now = city.value;
  if (!links || !now) return null;
  const change = new Float64Array(now.geometry.nLinks);
  links.link_ids.forEach((id, k) => {
    const link = now.position.get(id);
    if (link !== undefined) change[link] = links.delay_change_veh_h[k];
  });
  const bounds = differenceBounds(change);
  return { change, bounds, step: Uint8Array.from(change, (value) => differenceStep(value, bounds)) };
});

export async function closeForHalfAnHour(link: number): Promise<void> {
  const now = city.value;
  if (!now) return;
  failure.value = null;
  run.value = null;
  try {
    const started = await hub.startScenario({
      name: `${language.value === 'zh' ? '封闭' : 'close'} ${nameOfLink(now, link)}`,
      close: [{ links: [now.network.link_ids[link]], from_s: 0, until_s: CLOSED_S }],
      horizon_s: CLOSED_S + AFTERWARDS_S,
    });
    differenceShown.value = true;
    runId.value = started.run_id;
  } catch (error) {
    failure.value = (error as Error).message;
  }
}

export function backToLive(): void {
  runId.value = null;
}

/** Follow the run in the address, whoever started it. */
export function followRuns(): void {
  effect(() => {
    const wanted = runId.value;
    if (wanted === null) {
      run.value = null;
      return undefined;
    }
    const stop = new AbortController();
    failure.value = null;
    void follow(wanted, stop.signal);
    return () => stop.abort();
  });
}

async function follow(wanted: string, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    try {
      const answer = await hub.run(wanted, stop);
      if (stop.aborted) return;
      run.value = answer;
      if (answer.state === 'failed') failure.value = answer.error ?? '';
      if (answer.state !== 'running') return;
    } catch (error) {
      if (stop.aborted) return;
      if (error instanceof HubError) {
        failure.value = error.message;
        runId.value = null;
        return;
      } // anything else is a lost connection: the run goes on without us, ask again
    }
    await new Promise((done) => window.setTimeout(done, POLL_MS));
  }
}
