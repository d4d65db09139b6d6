// The city as the cockpit knows it: network and shape once, then the live picture.

import { computed, signal } from '@preact/signals';
import { mergeAlert, replaceAlerts } from './alertbook';
import type { LiveMessage, NetworkInfo, Summary } from './contract';
import { LinkPicture, slowestLinks, type LinkFrame } from './frame';
import { decodeGeometry, type Geometry } from './geometry';
import { hub } from './hub';
import { language, timezone } from './language';
import { LiveConnection } from './live';
import { loadOutage } from './outage';
import { loadPlaces, loadSuspects } from './places';
import { feel, stateFactor } from './pulse';
import { stepOf } from './speed';

export interface City {
  network: NetworkInfo;
  geometry: Geometry;
  picture: LinkPicture;
  /** Position of a link id in all arrays. */
  position: ReadonlyMap<string, number>;
}

const SLOWEST_SHOWN = 8;
const SLOWEST_EVERY_MS = 4_000; // a table that changes order every second cannot be read

export const city = signal<City | null>(null);
/** Why there is no city yet, in the hub's words. */
export const trouble = signal<string | null>(null);
export const summary = signal<Summary | null>(null);
/** Counts frames; heartbeats without a change are frames too. */
export const frames = signal(0);
/** Counts the pictures that differ from the one before. */
export const pictures = signal(0);
/** The slowest of those that do not flow freely. */
export const slowest = signal<{ link: number; ratio: number }[]>([]);

export const cityName = computed(() => {
  const network = city.value?.network;
  if (!network) return '';
  return language.value === 'zh' ? network.name_zh || network.name : network.name || network.name_zh;
});

export function nameOfLink(of: City, link: number): string {
  const { link_names_en, link_names_zh, link_ids } = of.network;
  const [first, second] = language.value === 'zh' ? [link_names_zh, link_names_en] : [link_names_en, link_names_zh];
  return first[link] || second[link] || link_ids[link];
}

let slowestAt = -Infinity;

function applyFrame(frame: LinkFrame): void {
  const now = city.value;
  if (!now) return;
  if (frame.nLinks !== now.picture.nLinks) {
    void loadCity(); // the hub has another network now
    return;
  }
  now.picture.apply(frame);
  feel(frame);
  frames.value += 1;
  if (frame.index === null || frame.index.length > 0) pictures.value += 1;
  if (performance.now() - slowestAt > SLOWEST_EVERY_MS) {
    slowestAt = performance.now();
    slowest.value = slowestLinks(now.picture.ratio, SLOWEST_SHOWN)
      .map((link) => ({ link, ratio: now.picture.ratio[link] }))
      .filter(({ ratio }) => stepOf(ratio) > 0);
  }
}

function applyMessage(message: LiveMessage): void {
  if (message.type === 'alert') mergeAlert(message.alert);
  else if (message.type === 'summary') summary.value = message.summary;
  else if (message.type === 'asset') void loadOutage();
  else if (message.type === 'hello') {
    const known = city.value?.network.network_sha256;
    if (known && message.network_sha256 && message.network_sha256 !== known) void loadCity();
  }
}

async function loadAlerts(): Promise<void> {
  try {
    replaceAlerts(await hub.alerts());
  } catch (error) {
    // The live connection says that the hub is away, and its return asks again.
    trouble.value = (error as Error).message;
  }
}

/** Ask for the network until the hub has one. */
async function loadCity(): Promise<void> {
  for (let wait = 500; ; wait = Math.min(5_000, 2 * wait)) {
    try {
      const network = await hub.network();
      const geometry = decodeGeometry(await hub.geometry(network.network_sha256), network.origin);
      timezone.value = network.timezone || 'UTC';
      stateFactor(network.clock_factor);
      slowestAt = -Infinity;
      city.value = {
        network,
        geometry,
        picture: new LinkPicture(geometry.nLinks),
        position: new Map(network.link_ids.map((id, link) => [id, link])),
      };
      trouble.value = null;
      return;
    } catch (error) {
      trouble.value = (error as Error).message;
      await new Promise((done) => window.setTimeout(done, wait));
    }
  }
}

export async function startCity(): Promise<void> {
  await loadCity();
  const live = new LiveConnection(hub.liveAddress, {
    onFrame: applyFrame,
    onMessage: applyMessage,
    onOpen: () => {
      void loadAlerts();
      void loadOutage();
      void loadPlaces();
      void loadSuspects();
    },
  });
  live.start();
}
