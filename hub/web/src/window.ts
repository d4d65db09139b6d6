// A small handle for browser tests and for the curious at the console: what is drawn, and how often.

import { city, frames, type City } from './city';
import type { CityMap } from './map/citymap';

interface Handle {
  /** Frames applied so far. */
  readonly frames: number;
  /** The colour on the screen at the middle of a link; null outside the picture. */
  linkColour(linkId: string): Promise<[number, number, number] | null>;
  /** Where in the page that is, CSS pixels. */
  linkPlace(linkId: string): { x: number; y: number };
  readonly linkIds: readonly string[];
}

declare global {
  interface Window {
    citytwin?: Handle;
  }
}

export function publish(of: City, map: CityMap): void {
  const position = (linkId: string): number => {
    const link = of.position.get(linkId);
    if (link === undefined) throw new RangeError(`no link ${linkId}`);
    return link;
  };
  window.citytwin = {
    get frames() {
      return frames.value;
    },
    get linkIds() {
      return city.value?.network.link_ids ?? [];
    },
    linkColour: (linkId) => map.colourOf(position(linkId)),
    linkPlace: (linkId) => map.pageOf(position(linkId)),
  };
}
