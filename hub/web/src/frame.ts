// Live link frames `CTF1`: one byte of speed ratio and one of source per link, whole or as changes.

export const NO_DATA = 255;
/** A ratio byte is speed over free-flow speed times this. */
export const RATIO_SCALE = 250;

const HEADER_BYTES = 32;

export interface LinkFrame {
  full: boolean;
  sequence: number;
  nLinks: number;
  /** Seconds since 1970 UTC on the city clock and on the hub's wall clock. */
  cityTime: number;
  wallTime: number;
  /** Links that changed; null in a full frame. */
  index: Uint32Array | null;
  ratio: Uint8Array;
  source: Uint8Array;
}

/** @throws RangeError when the bytes are no `CTF1` frame. */
export function decodeFrame(bytes: ArrayBuffer): LinkFrame {
  if (bytes.byteLength < HEADER_BYTES) throw new RangeError(`a frame of ${bytes.byteLength} bytes is too short`);
  const header = new DataView(bytes);
  const magic = String.fromCharCode(...new Uint8Array(bytes, 0, 4));
  if (magic !== 'CTF1') throw new RangeError(`a frame starts with ${JSON.stringify(magic)}, expected "CTF1"`);
  const full = header.getUint8(4) === 0;
  const nLinks = header.getUint32(12, true);
  const common = {
    full,
    sequence: header.getUint32(8, true),
    nLinks,
    cityTime: header.getFloat64(16, true),
    wallTime: header.getFloat64(24, true),
  };
  if (full) {
    const ratio = new Uint8Array(bytes, HEADER_BYTES, nLinks);
    return { ...common, index: null, ratio, source: new Uint8Array(bytes, HEADER_BYTES + nLinks, nLinks) };
  }
  const n = header.getUint32(HEADER_BYTES, true);
  const at = HEADER_BYTES + 4;
  return {
    ...common,
    index: new Uint32Array(bytes, at, n),
    ratio: new Uint8Array(bytes, at + 4 * n, n),
    source: new Uint8Array(bytes, at + 5 * n, n),
  };
}

/** The picture that frames add up to. */
export class LinkPicture {
  readonly ratio: Uint8Array;
  readonly source: Uint8Array;
  private complete = false;

  constructor(readonly nLinks: number) {
    this.ratio = new Uint8Array(nLinks).fill(NO_DATA);
    this.source = new Uint8Array(nLinks);
  }

  /** Changes before the first full frame have nothing to change, and are left out. */
  apply(frame: LinkFrame): void {
    if (frame.index === null) {
      this.ratio.set(frame.ratio);
      this.source.set(frame.source);
      this.complete = true;
    } else if (this.complete) {
      for (let k = 0; k < frame.index.length; k++) {
        const link = frame.index[k];
        if (link >= this.nLinks) continue;
        this.ratio[link] = frame.ratio[k];
        this.source[link] = frame.source[k];
      }
    }
  }
}

/** The `count` links with the lowest ratio, lowest first; links without data are no candidates. */
export function slowestLinks(ratio: Uint8Array, count: number): number[] {
  const buckets = new Uint32Array(256);
  for (const value of ratio) buckets[value]++;
  let limit = 0;
  for (let seen = 0; limit < NO_DATA; limit++) {
    seen += buckets[limit];
    if (seen >= count) break;
  }
  const found: number[] = [];
  for (let link = 0; link < ratio.length; link++) if (ratio[link] <= limit && ratio[link] !== NO_DATA) found.push(link);
  return found.sort((a, b) => ratio[a] - ratio[b] || a - b).slice(0, count);
}
