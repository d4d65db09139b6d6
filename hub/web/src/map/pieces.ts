// Links cut into straight pieces, packed once for the graphics card: 28 bytes per piece.

import type { Geometry } from '../geometry';

export const PIECE_BYTES = 28;

export interface Pieces {
  /** from x, from y, to x, to y, start (float32), link (uint32), class (uint32). */
  bytes: ArrayBuffer;
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
  const bytes = new ArrayBuffer(count * PIECE_BYTES);
  const floats = new Float32Array(bytes);
  const words = new Uint32Array(bytes);
  const first = new Uint32Array(nLinks);
  const number = new Uint32Array(nLinks);
  let piece = 0;
  for (const wanted of [3, 2, 1, 0]) {
    for (let link = 0; link < nLinks; link++) {
      if (Math.min(3, linkClass[link]) !== wanted) continue;
      first[link] = piece;
      let travelled = 0;
      for (let p = offsets[link]; p + 1 < offsets[link + 1]; p++) {
        const at = (piece * PIECE_BYTES) / 4;
        floats.set(xy.subarray(2 * p, 2 * p + 4), at);
        floats[at + 4] = travelled;
        words[at + 5] = link;
        words[at + 6] = wanted;
        travelled += Math.hypot(xy[2 * p + 2] - xy[2 * p], xy[2 * p + 3] - xy[2 * p + 1]);
        piece++;
      }
      number[link] = piece - first[link];
    }
  }
  return { bytes, count, first, number };
}
