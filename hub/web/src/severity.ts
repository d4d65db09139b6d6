// Priorities have a shape and a number and a colour, so that none of the three is needed alone.

import type { Severity } from './contract';

interface Appearance {
  number: Severity;
  colour: string;
  /** SVG path on a square of 22 by 22. */
  path: string;
}

export const SEVERITIES: readonly Appearance[] = [
  { number: 1, colour: '#B00020', path: 'M3 2h16a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1V3a1 1 0 0 1 1-1z' },
  { number: 2, colour: '#9A4A00', path: 'M11 2 21 20H1z' },
  { number: 3, colour: '#6B5900', path: 'M11 1 21 11 11 21 1 11z' },
  { number: 4, colour: '#4A4E8C', path: 'M11 1.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19z' },
];

/** A severity outside 1..4 is shown as a note. */
export const appearanceOf = (severity: number): Appearance => SEVERITIES[severity - 1] ?? SEVERITIES[3];
export const shapePath = (severity: Severity): string => appearanceOf(severity).path;
