// What lies under the links: land, water, parks and buildings of the network itself. No tiles, nothing from outside.

import type { FilterSpecification, StyleSpecification } from 'maplibre-gl';
import type { Language } from '../language';

const EMPTY: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] };

const areaOf = (kind: string): FilterSpecification => [
  'all',
  ['==', ['get', 'kind'], kind],
  ['==', ['geometry-type'], 'Polygon'],
];

export const nameIn = (language: Language): ['get', Language] => ['get', language];

/** Letters are drawn from the fonts of this computer, because the style names no `glyphs` address. */
const FONT = ['system-ui', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', 'sans-serif'];

export function emptyStyle(language: Language): StyleSpecification {
  return {
    version: 8,
    sources: {
      base: { type: 'geojson', data: EMPTY },
      streets: { type: 'geojson', data: EMPTY },
      marks: { type: 'geojson', data: EMPTY },
      alerts: { type: 'geojson', data: EMPTY },
    },
    layers: [
      { id: 'land', type: 'background', paint: { 'background-color': '#F7F8F9' } },
      { id: 'park', type: 'fill', source: 'base', filter: areaOf('park'), paint: { 'fill-color': '#E8EFE6' } },
      { id: 'water', type: 'fill', source: 'base', filter: areaOf('water'), paint: { 'fill-color': '#DCE6EA' } },
      {
        id: 'stream',
        type: 'line',
        source: 'base',
        filter: ['all', ['==', ['get', 'kind'], 'water'], ['==', ['geometry-type'], 'LineString']],
        paint: { 'line-color': '#DCE6EA', 'line-width': 4 },
      },
      {
        id: 'building',
        type: 'fill',
        source: 'base',
        minzoom: 13.5,
        filter: areaOf('building'),
        paint: { 'fill-color': '#ECEEF0', 'fill-outline-color': '#DFE3E6' },
      },
      // The links are drawn here, below names and pins.
      {
        id: 'names',
        type: 'symbol',
        source: 'streets',
        filter: ['<=', ['get', 'class'], ['step', ['zoom'], 1, 14, 2, 15.2, 3]],
        layout: {
          'symbol-placement': 'line',
          'symbol-spacing': 380,
          'symbol-sort-key': ['get', 'class'],
          'text-field': nameIn(language),
          'text-font': FONT,
          'text-size': 13,
          'text-padding': 6,
          'text-max-angle': 35,
        },
        paint: { 'text-color': '#263238', 'text-halo-color': '#FFFFFF', 'text-halo-width': 1.8 },
      },
      {
        id: 'marks',
        type: 'symbol',
        source: 'marks',
        layout: {
          'icon-image': ['get', 'icon'],
          // Far away what is ordinary steps back.
          'icon-size': ['interpolate', ['linear'], ['zoom'], 12, ['case', ['>', ['get', 'level'], 0], 0.85, 0.5], 14.5, 1],
          'icon-allow-overlap': true,
          'icon-ignore-placement': true,
          'symbol-sort-key': ['get', 'level'],
          'text-field': ['step', ['zoom'], ['case', ['>', ['get', 'level'], 1], ['get', 'label'], ''], 14, ['get', 'label']],
          'text-font': FONT,
          'text-size': 13,
          'text-anchor': 'left',
          'text-offset': [1.1, 0],
          'text-optional': true,
        },
        paint: { 'text-color': '#1C2226', 'text-halo-color': '#FFFFFF', 'text-halo-width': 1.8 },
      },
      {
        id: 'pins',
        type: 'symbol',
        source: 'alerts',
        layout: {
          'icon-image': ['get', 'icon'],
          'icon-allow-overlap': true,
          'icon-ignore-placement': true,
          'symbol-sort-key': ['-', 0, ['get', 'severity']], // the worst on top
        },
      },
    ],
  };
}
