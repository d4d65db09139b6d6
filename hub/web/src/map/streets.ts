// Street names: links of one name joined to long lines, once for both directions, so that a name fits on its street.

import type { City } from '../city';
import { toLonLat, type Geometry } from '../geometry';
import { streetOf } from '../streetname';

type Point = [number, number];

const corner = (geometry: Geometry, p: number): string =>
  `${Math.round(geometry.xy[2 * p])},${Math.round(geometry.xy[2 * p + 1])}`;

export function streetLines(city: City): GeoJSON.FeatureCollection<GeoJSON.LineString> {
  const { network, geometry } = city;
  const byName = new Map<string, number[]>();
  network.link_ids.forEach((_, link) => {
    const key = `${streetOf(network.link_names_en[link] ?? '')}\n${streetOf(network.link_names_zh[link] ?? '')}`;
    if (key === '\n') return;
    const street = byName.get(key);
    if (street) street.push(link);
    else byName.set(key, [link]);
  });
  const features: GeoJSON.Feature<GeoJSON.LineString>[] = [];
  for (const [key, links] of byName) {
    const [en, zh] = key.split('\n');
    const properties = { en: en || zh, zh: zh || en, class: Math.min(...links.map((link) => geometry.linkClass[link])) };
    for (const points of chains(geometry, links)) {
      const coordinates = points.map(([x, y]) => toLonLat(geometry, x, y));
      features.push({ type: 'Feature', properties, geometry: { type: 'LineString', coordinates } });
    }
  }
  return { type: 'FeatureCollection', features };
}

/** Links joined end to end as far as they go, each road piece once. */
function chains(geometry: Geometry, links: number[]): Point[][] {
  const { offsets } = geometry;
  const left = new Map<string, number[]>(); // links not used yet, by the corner where they start
  const seen = new Set<string>();
  const starts = new Map<string, number>(); // how many links end at a corner: chains start where none does
  for (const link of links) {
    const [from, to] = [corner(geometry, offsets[link]), corner(geometry, offsets[link + 1] - 1)];
    const road = from < to ? `${from} ${to}` : `${to} ${from}`;
    if (seen.has(road)) continue;
    seen.add(road);
    for (const [end, other] of [
      [from, link],
      [to, ~link], // ~link: the same road, read backwards
    ] as const) {
      const waiting = left.get(end);
      if (waiting) waiting.push(other);
      else left.set(end, [other]);
      starts.set(end, (starts.get(end) ?? 0) + 1);
    }
  }
  const used = new Set<number>();
  const found: Point[][] = [];
  const ends = [...starts.keys()].sort((a, b) => (starts.get(a) ?? 0) - (starts.get(b) ?? 0));
  for (const start of ends) {
    for (let line = walk(geometry, start, left, used); line.length > 1; line = walk(geometry, start, left, used)) found.push(line);
  }
  return found;
}

function walk(geometry: Geometry, start: string, left: Map<string, number[]>, used: Set<number>): Point[] {
  const { offsets, xy } = geometry;
  const line: Point[] = [];
  for (let at = start; ; ) {
    const next = left.get(at)?.find((link) => !used.has(link < 0 ? ~link : link));
    if (next === undefined) return line;
    const link = next < 0 ? ~next : next;
    used.add(link);
    const points: Point[] = [];
    for (let p = offsets[link]; p < offsets[link + 1]; p++) points.push([xy[2 * p], xy[2 * p + 1]]);
    if (next < 0) points.reverse();
    line.push(...(line.length > 0 ? points.slice(1) : points));
    at = corner(geometry, next < 0 ? offsets[link] : offsets[link + 1] - 1);
  }
}
