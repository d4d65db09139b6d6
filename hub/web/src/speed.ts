// Colours of speed and of difference, in one place: the map's shader, the legend and the tables read them here.

import { NO_DATA, RATIO_SCALE } from './frame';

/** Darker is slower, so that the order reads in greyscale and for colour-blind people. */
export const STEPS = [
  { key: 'free', from: 0.8, colour: '#808C95' },
  { key: 'slow', from: 0.6, colour: '#9C7413' },
  { key: 'busy', from: 0.4, colour: '#A3420E' },
  { key: 'jammed', from: 0.2, colour: '#78122F' },
  { key: 'stopped', from: 0, colour: '#2E0626' },
] as const;

export const NO_DATA_COLOUR = '#B9C1C6';
export const SELECTION_COLOUR = '#0B4A8F';

/** Difference of delay: three steps each way around "no change"; the map also draws larger changes wider. */
export const DIFFERENCE_COLOURS = ['#063B47', '#1F6F7F', '#7FA6AE', '#C3CACE', '#C79A86', '#A3420E', '#5E0F22'] as const;
export const NO_CHANGE = 3;

/** Index into `STEPS` of a ratio byte, or `STEPS.length` without data. */
export function stepOf(ratio: number): number {
  if (ratio === NO_DATA) return STEPS.length;
  const share = ratio / RATIO_SCALE;
  return STEPS.findIndex((step) => share >= step.from);
}

/** Bounds of the difference steps in veh·h: 1, 10 and 40 % of the largest change, rounded to one figure. */
export function differenceBounds(changes: ArrayLike<number>): [number, number, number] {
  let largest = 0;
  for (let k = 0; k < changes.length; k++) largest = Math.max(largest, Math.abs(changes[k]));
  const rounded = (value: number): number => (value > 0 ? Number(value.toPrecision(1)) : 0);
  return [rounded(largest * 0.01), rounded(largest * 0.1), rounded(largest * 0.4)];
}

export function differenceStep(change: number, bounds: readonly number[]): number {
  const size = Math.abs(change);
  const magnitude = bounds.filter((bound) => bound > 0 && size >= bound).length;
  return NO_CHANGE + Math.sign(change) * magnitude;
}

export function rgb(hex: string): [number, number, number] {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
}
