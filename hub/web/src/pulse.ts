// How fresh the picture is: age of the data, the city's clock, and how much faster than the wall it runs.

import { signal } from '@preact/signals';
import type { LinkFrame } from './frame';

/** Older than this is said in red. */
export const OLD_S = 10;

/** City time of the newest picture, ms since 1970 UTC, or null before the first. */
export const cityTime = signal<number | null>(null);
/** City seconds per wall second, 1 for a live city. */
export const factor = signal(1);
/** As the hub states it; null when readings drive its clock, whose pace can only be measured. */
let stated: number | null = null;
/** Seconds since the city's picture last moved on, by this computer's own steady clock. */
export const age = signal<number | null>(null);

let advancedAt = 0;
/** Frames of the last minutes, some seconds apart; the rate is taken over all of them, because single ones jitter. */
let samples: LinkFrame[] = [];
const SAMPLE_EVERY_S = 5;
const SAMPLES_KEPT = 24;

/** Take note of a frame; a heartbeat that repeats the last picture does not make the data younger. */
export function feel(frame: LinkFrame): void {
  const moment = frame.cityTime * 1000;
  if (cityTime.value !== moment) {
    advancedAt = performance.now();
    cityTime.value = moment;
    age.value = 0;
  }
  measureFactor(frame);
}

export function stateFactor(known: number | null): void {
  stated = known;
  samples = [];
  factor.value = known ?? 1;
}

function measureFactor(frame: LinkFrame): void {
  if (stated !== null) return;
  const last = samples.at(-1);
  if (last && (frame.cityTime < last.cityTime || frame.wallTime < last.wallTime)) samples = []; // started anew
  if (samples.length > 0) {
    const wall = frame.wallTime - samples[0].wallTime;
    if (wall >= SAMPLE_EVERY_S) factor.value = rounded((frame.cityTime - samples[0].cityTime) / wall);
  }
  const since = frame.wallTime - (samples.at(-1)?.wallTime ?? -Infinity);
  if (since >= SAMPLE_EVERY_S) samples = [...samples, frame].slice(-SAMPLES_KEPT);
}

/** A live city's rate differs from 1 only by when its frames are cut. */
function rounded(rate: number): number {
  if (Math.abs(rate - 1) < 0.25) return 1;
  return rate < 5 ? Math.round(rate * 10) / 10 : Math.round(rate);
}

export function startPulse(): void {
  window.setInterval(() => {
    if (cityTime.value !== null) age.value = (performance.now() - advancedAt) / 1000;
  }, 500);
}
