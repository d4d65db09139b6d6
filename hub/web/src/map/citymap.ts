// The map: background, links, names and pins, and what the user does on it.

import * as maplibre from 'maplibre-gl';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?url';
import 'maplibre-gl/dist/maplibre-gl.css';
import type { City } from '../city';
import type { Alert } from '../contract';
import { middleOf, toLonLat, toMetres } from '../geometry';
import { hub } from '../hub';
import type { Language } from '../language';
import { wide } from '../screen';
import { emptyStyle, nameIn } from './background';
import { LinkLayer, type Palette } from './linklayer';
import { Picker } from './picker';
import type { Mark } from '../marks';
import { addPinImages, pinFeatures } from './pins';
import { addMarkImages, markFeatures } from './symbols';
import { streetLines } from './streets';

maplibre.setWorkerUrl(workerUrl);

const REACH_PX = 14; // how far from a link a click still means it
const REACH_TOUCH_PX = 22;
const LOCATE_ZOOM = 15;
/** Room for the buttons and the legend. */
const padding = () =>
  wide.value ? { top: 24, left: 24, right: 56, bottom: 156 } : { top: 16, left: 12, right: 12, bottom: 72 };

export type Camera = Pick<maplibre.MapOptions, 'center' | 'zoom'>;

export interface Choices {
  onLink(link: number): void;
  onAlert(alertId: string): void;
  onMark(key: string | null): void;
  /** The pointer rests on a mark, at a place of the map in pixels, or on none. */
  onHover(key: string | null, x: number, y: number): void;
  /** The graphics device went away, or came back: then this map is of no use any more and wants to be made anew. */
  onDevice(present: boolean): void;
}

export class CityMap {
  private readonly map: maplibre.Map;
  private readonly layer: LinkLayer;
  private readonly picker: Picker;
  private ready = false;
  private alerts: readonly Alert[] = [];
  private marks: readonly Mark[] = [];
  private marksTold = '';
  private language: Language;

  constructor(
    container: HTMLElement,
    private readonly city: City,
    language: Language,
    label: string,
    private readonly choices: Choices,
    camera: Camera | null,
  ) {
    this.language = language;
    this.layer = new LinkLayer(city.geometry);
    this.picker = new Picker(city.geometry);
    this.map = new maplibre.Map({
      container,
      style: emptyStyle(language),
      ...(camera ?? { bounds: city.network.bounds, fitBoundsOptions: { padding: padding() } }),
      locale: { 'Map.Title': label },
      attributionControl: false, // the network's own notes are shown beside the legend
      fadeDuration: 0,
      maxPitch: 0,
      dragRotate: false,
      pitchWithRotate: false,
      pixelRatio: Math.min(2, window.devicePixelRatio || 1),
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.on('load', () => this.fill());
    this.listen();
  }

  /** Resolves when the first picture with links has been drawn; rejects when a part of the map could not be fetched. */
  async drawn(): Promise<void> {
    await new Promise<void>((done, fail) => {
      this.map.once('load', () => done());
      this.map.once('error', (event) => fail(event.error));
    });
    await this.map.once('render');
    this.map.on('error', (event) => console.warn(event.error)); // without a listener MapLibre calls it an error
  }

  paint(step: ArrayLike<number>, source: ArrayLike<number> | null, palette: Palette): void {
    this.layer.paint(step, source, palette);
    this.map.triggerRepaint();
  }

  select(link: number | null): void {
    this.layer.selected = link;
    this.map.triggerRepaint();
  }

  locateLink(link: number): void {
    const { x, y } = middleOf(this.city.geometry, link);
    this.locate(toLonLat(this.city.geometry, x, y));
  }

  /** Near places are moved to, far ones jumped to; with reduced motion MapLibre jumps always. */
  locate(place: [number, number]): void {
    this.map.easeTo({ center: place, zoom: Math.max(this.map.getZoom(), LOCATE_ZOOM), duration: 400 });
  }

  zoomBy(levels: number): void {
    this.map.zoomTo(this.map.getZoom() + levels, { duration: 200 });
  }

  wholeCity(): void {
    this.map.fitBounds(this.city.network.bounds, { padding: padding(), duration: 400 });
  }

  setAlerts(alerts: readonly Alert[]): void {
    this.alerts = alerts;
    const source = this.ready ? this.map.getSource<maplibre.GeoJSONSource>('alerts') : undefined;
    void source?.setData(pinFeatures(alerts, (alert) => this.placeOf(alert)));
  }

  setMarks(marks: readonly Mark[]): void {
    this.marks = marks;
    const source = this.ready ? this.map.getSource<maplibre.GeoJSONSource>('marks') : undefined;
    if (!source) return;
    const features = markFeatures(marks);
    const told = JSON.stringify(features);
    if (told === this.marksTold) return; // ages move on every few seconds, pictures seldom
    this.marksTold = told;
    void source.setData(features);
  }

  setLanguage(language: Language, label: string): void {
    this.language = language;
    this.map.getCanvas().setAttribute('aria-label', label);
    if (this.ready) this.map.setLayoutProperty('names', 'text-field', nameIn(language));
  }

  camera(): Camera {
    return { center: this.map.getCenter(), zoom: this.map.getZoom() };
  }

  remove(): void {
    this.map.remove();
  }

  /** The colour drawn at the middle of a link, or null when that is outside the picture. */
  colourOf(link: number): Promise<[number, number, number] | null> {
    const place = middleOf(this.city.geometry, link);
    return new Promise((answer) => {
      this.layer.probe({ ...place, linkClass: this.city.geometry.linkClass[link], answer });
      this.map.triggerRepaint();
    });
  }

  /** Where in the page the middle of a link is drawn. */
  pageOf(link: number): { x: number; y: number } {
    const { x, y, dx, dy } = middleOf(this.city.geometry, link);
    const at = this.map.project(toLonLat(this.city.geometry, x, y));
    const frame = this.map.getCanvas().getBoundingClientRect();
    const offset = this.layer.offsetOf(this.city.geometry.linkClass[link]);
    return { x: frame.left + at.x + dy * offset, y: frame.top + at.y + dx * offset };
  }

  /** Where in the page a mark is drawn; null for one that is not. */
  pageOfMark(key: string): { x: number; y: number } | null {
    const mark = this.marks.find((candidate) => candidate.key === key);
    if (!mark || !this.ready) return null;
    const at = this.map.project(mark.lonLat);
    const drawn = this.map.queryRenderedFeatures(at, { layers: ['marks'] });
    if (!drawn.some((feature) => feature.properties.key === key)) return null;
    const frame = this.map.getCanvas().getBoundingClientRect();
    return { x: frame.left + at.x, y: frame.top + at.y };
  }

  placeOf(alert: Alert): [number, number] | null {
    const link = alert.link_id === null ? undefined : this.city.position.get(alert.link_id);
    if (link !== undefined) {
      const { x, y } = middleOf(this.city.geometry, link);
      return toLonLat(this.city.geometry, x, y);
    }
    return alert.lon === null || alert.lat === null ? null : [alert.lon, alert.lat];
  }

  private fill(): void {
    this.ready = true;
    this.map.addLayer(this.layer, 'names');
    addPinImages(this.map);
    addMarkImages(this.map);
    void this.map.getSource<maplibre.GeoJSONSource>('streets')?.setData(streetLines(this.city));
    this.setAlerts(this.alerts);
    this.setMarks(this.marks);
    this.map.setLayoutProperty('names', 'text-field', nameIn(this.language));
    // A city without background is a city all the same.
    hub.base().then(
      (base) => void this.map.getSource<maplibre.GeoJSONSource>('base')?.setData(base),
      () => undefined,
    );
  }

  private listen(): void {
    const canvas = this.map.getCanvas();
    this.map.on('click', (event) => this.chooseAt(event.point, event.originalEvent));
    this.map.on('mousemove', (event) => {
      const pin = this.pinAt(event.point);
      const mark = pin === null ? this.markAt(event.point, 0) : null;
      this.choices.onHover(mark, event.point.x, event.point.y);
      const over = pin !== null || mark !== null || this.linkAt(event.point, REACH_PX) !== null;
      canvas.style.cursor = over ? 'pointer' : '';
    });
    this.map.on('mouseout', () => this.choices.onHover(null, 0, 0));
    canvas.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      const middle = this.map.project(this.map.getCenter());
      const mark = this.markAt(middle, REACH_PX);
      if (mark !== null) {
        this.choices.onMark(mark);
        return;
      }
      const link = this.linkAt(middle, 4 * REACH_PX);
      if (link !== null) this.choices.onLink(link);
    });
    this.map.on('webglcontextlost', () => this.choices.onDevice(false));
    this.map.on('webglcontextrestored', () => this.choices.onDevice(true));
  }

  private chooseAt(point: maplibre.Point, event: MouseEvent): void {
    const alert = this.pinAt(point);
    if (alert !== null) {
      this.choices.onAlert(alert);
      return;
    }
    const touched = (event as PointerEvent).pointerType === 'touch';
    const mark = this.markAt(point, touched ? REACH_PX : 2);
    this.choices.onMark(mark);
    if (mark !== null) return;
    const link = this.linkAt(point, touched ? REACH_TOUCH_PX : REACH_PX);
    if (link !== null) this.choices.onLink(link);
  }

  private pinAt(point: maplibre.Point): string | null {
    if (!this.ready) return null;
    const [pin] = this.map.queryRenderedFeatures(point, { layers: ['pins'] });
    return pin ? String(pin.properties.alert) : null;
  }

  private markAt(point: maplibre.Point, reachPx: number): string | null {
    if (!this.ready) return null;
    const box: [[number, number], [number, number]] = [
      [point.x - reachPx, point.y - reachPx],
      [point.x + reachPx, point.y + reachPx],
    ];
    const [found] = this.map.queryRenderedFeatures(box, { layers: ['marks'] });
    return found ? String(found.properties.key) : null;
  }

  private linkAt(point: maplibre.Point, reachPx: number): number | null {
    if (!this.ready) return null; // the layer does not know its scale yet
    const place = this.map.unproject(point);
    const [x, y] = toMetres(this.city.geometry, place.lng, place.lat);
    const metres = this.layer.metresPerPixel();
    return this.picker.nearest(x, y, reachPx * metres, (linkClass) => this.layer.offsetOf(linkClass) * metres);
  }
}
