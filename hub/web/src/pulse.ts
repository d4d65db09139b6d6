// How fresh the picture is: age of the data, the city's clock, and how much faster than the wall it runs.

import { signal } from '@preact/signals';
import type { LinkFrame } from './frame';

/** Older than this is said in red. */
export const OLD_S = 10;

/** City time of the newest picture, ms since 1970 UTC, or null before the first. */
export const cityTime = signal<number | null>(null);
/** City seconds per wall second, 1 for a live city. */
export const factor = signal(1);
/** Seconds since the city's picture last moved on, by this computer's own steady clock. */
export const age = signal<number | null>(null);

let advancedAt = 0;
let anchor: LinkFrame | null = null;

/** Take note of a frame; a heartbeat that repeats the last picture does not make the data younger. */
export function feel(frame: LinkFrame): void {
  const moment = frame.cityTime * 1000;
  if (cityTime.value !== moment) {
    advancedAt = performance.now();
    cityTime.value = moment;
    age.value = 0;
  }
  if (anchor === null || frame.cityTime < anchor.cityTime || frame.wallTime < anchor.wallTime) anchor = frame;
  const wall = frame.wallTime - anchor.wallTime;
  if (wall < 3) return;
  const rate = (frame.cityTime - anchor.cityTime) / wall;
  // A live city's rate differs from 1 only by when its frames are cut.
  factor.value = Math.abs(rate - 1) < 0.25 ? 1 : rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate);
  if (wall > 30) anchor = frame;
}

export function startPulse(): void {
  window.setInterval(() => {
    if (cityTime.value !== null) age.value = (performance.now() - advancedAt) / 1000;
  }, 500);
}
