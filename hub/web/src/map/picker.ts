// Which link is at a place: pieces sorted into square cells, nearest one wins, the side of travel decides.

import type { Geometry } from '../geometry';

const CELL_M = 250;

export class Picker {
  private readonly cells = new Map<string, number[]>();

  constructor(private readonly geometry: Geometry) {
    const { nLinks, offsets, xy } = geometry;
    for (let link = 0; link < nLinks; link++)
      for (let p = offsets[link]; p + 1 < offsets[link + 1]; p++) {
        const [x0, x1] = ordered(xy[2 * p], xy[2 * p + 2]);
        const [y0, y1] = ordered(xy[2 * p + 1], xy[2 * p + 3]);
        for (let cx = Math.floor(x0 / CELL_M); cx <= Math.floor(x1 / CELL_M); cx++)
          for (let cy = Math.floor(y0 / CELL_M); cy <= Math.floor(y1 / CELL_M); cy++) {
            const key = `${cx},${cy}`;
            const cell = this.cells.get(key);
            if (cell) cell.push(link, p);
            else this.cells.set(key, [link, p]);
          }
      }
  }

  /** The link whose drawn lane (`offset` metres right of its line) is nearest, within `reach` metres. */
  nearest(x: number, y: number, reach: number, offset: (linkClass: number) => number): number | null {
    const { xy, linkClass } = this.geometry;
    let found: number | null = null;
    let best = reach;
    for (let cx = Math.floor((x - reach) / CELL_M); cx <= Math.floor((x + reach) / CELL_M); cx++)
      for (let cy = Math.floor((y - reach) / CELL_M); cy <= Math.floor((y + reach) / CELL_M); cy++) {
        const cell = this.cells.get(`${cx},${cy}`) ?? [];
        for (let k = 0; k < cell.length; k += 2) {
          const distance = distanceTo(xy, cell[k + 1], x, y, offset(linkClass[cell[k]]));
          if (distance < best) [best, found] = [distance, cell[k]];
        }
      }
    return found;
  }
}

const ordered = (a: number, b: number): [number, number] => (a < b ? [a, b] : [b, a]);

function distanceTo(xy: Float32Array, p: number, x: number, y: number, offset: number): number {
  const dx = xy[2 * p + 2] - xy[2 * p];
  const dy = xy[2 * p + 3] - xy[2 * p + 1];
  const length = Math.hypot(dx, dy) || 1;
  const fromX = x - xy[2 * p] - (dy / length) * offset; // the lane lies to the right of the line
  const fromY = y - xy[2 * p + 1] + (dx / length) * offset;
  const share = Math.min(1, Math.max(0, (fromX * dx + fromY * dy) / (length * length)));
  return Math.hypot(fromX - share * dx, fromY - share * dy);
}
