// A small handle for browser tests and for the curious at the console: what is drawn, and how often.

import { city, frames } from './city';
import type { CityMap } from './map/citymap';
import { marks } from './marks';

type Colour = [number, number, number];

interface Handle {
  /** Frames received so far. */
  readonly frames: number;
  readonly linkIds: readonly string[];
  /** The colour on the screen at the middle of a link; null outside the picture, or without a map. */
  linkColour(linkId: string): Promise<Colour | null>;
  /** Where in the page that is, CSS pixels; null without a map. */
  linkPlace(linkId: string): { x: number; y: number } | null;
  /** Keys of the marks that the map has. */
  readonly markKeys: readonly string[];
  /** Where in the page a mark is drawn; null without a map, or such a mark. */
  markPlace(key: string): { x: number; y: number } | null;
}

declare global {
  interface Window {
    citytwin?: Handle;
  }
}

/** A map that draws nothing, hidden or without its device, must not keep a test waiting for ever. */
const PATIENCE_MS = 5_000;

let map: CityMap | null = null;

export function tellOf(drawn: CityMap | null): void {
  map = drawn;
}

function positionOf(linkId: string): number {
  const link = city.value?.position.get(linkId);
  if (link === undefined) throw new RangeError(`no link ${linkId}`);
  return link;
}

export function openHandle(): void {
  window.citytwin = {
    get frames() {
      return frames.value;
    },
    get linkIds() {
      return city.value?.network.link_ids ?? [];
    },
    linkColour: async (linkId) => {
      const late = new Promise<null>((give) => window.setTimeout(() => give(null), PATIENCE_MS));
      return (await Promise.race([map?.colourOf(positionOf(linkId)), late])) ?? null;
    },
    linkPlace: (linkId) => map?.pageOf(positionOf(linkId)) ?? null,
    get markKeys() {
      return marks.value.map((mark) => mark.key);
    },
    markPlace: (key) => map?.pageOfMark(key) ?? null,
  };
}
