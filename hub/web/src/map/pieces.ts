// Links cut into straight pieces, packed once into a texture from which the vertex shader reads.
//
// Not vertex attributes: four copies of each would be needed, or instances, which software renderers draw one by one
// (30,000 links took two seconds a frame that way).

import type { Geometry } from '../geometry';

/** Pieces per texture row; each takes two texels of four floats. */
export const PIECES_PER_ROW = 1024;
const FLOATS = 8;

export interface Pieces {
  /** from x, from y, to x, to y (metres), start (metres travelled before), link, class, unused. */
  texels: Float32Array;
  rows: number;
  count: number;
  /** (n_links) first piece and number of pieces of each link. */
  first: Uint32Array;
  number: Uint32Array;
}

/** Important classes come last, so that they are drawn on top. */
export function cutIntoPieces(geometry: Geometry): Pieces {
  const { nLinks, offsets, xy, linkClass } = geometry;
  let count = 0;
  for (let link = 0; link < nLinks; link++) count += Math.max(0, offsets[link + 1] - offsets[link] - 1);
  const rows = Math.max(1, Math.ceil(count / PIECES_PER_ROW));
  const texels = new Float32Array(rows * PIECES_PER_ROW * FLOATS);
  const first = new Uint32Array(nLinks);
  const number = new Uint32Array(nLinks);
  let piece = 0;
  for (const wanted of [3, 2, 1, 0]) {
    for (let link = 0; link < nLinks; link++) {
      if (Math.min(3, linkClass[link]) !== wanted) continue;
      first[link] = piece;
      let travelled = 0;
      for (let p = offsets[link]; p + 1 < offsets[link + 1]; p++) {
        const at = piece * FLOATS;
        texels.set(xy.subarray(2 * p, 2 * p + 4), at);
        texels.set([travelled, link, wanted], at + 4); // a float32 holds link numbers up to 16 million exactly
        travelled += Math.hypot(xy[2 * p + 2] - xy[2 * p], xy[2 * p + 3] - xy[2 * p + 1]);
        piece++;
      }
      number[link] = piece - first[link];
    }
  }
  return { texels, rows, count, first, number };
}
