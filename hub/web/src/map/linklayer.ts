// All links in one draw call: shapes go to the graphics card once, afterwards two bytes per link and picture.

import { MercatorCoordinate, type CustomLayerInterface, type CustomRenderMethodInput, type Map } from 'maplibre-gl';
import type { Geometry } from '../geometry';
import { rgb, SELECTION_COLOUR } from '../speed';
import { cutIntoPieces, PIECES_PER_ROW, type Pieces } from './pieces';
import { compile, PALETTE_SIZE, TEXTURE_WIDTH } from './shaders';

const EARTH_M = 40_075_016.686; // equator, as in Web Mercator
const CLASS_WIDTH = [4.4, 3.2, 2.3, 1.7]; // CSS pixels at 8 m per pixel: a city of 6 km on one screen
const CASING = 3.5;
const UNIFORMS = 'matrix viewport scale width palette stretch absent state pieces casing casing_colour'.split(' ');

export interface Palette {
  colours: readonly string[];
  stretch: readonly number[];
  /** Index of "no data". */
  absent: number;
}

export interface Probe {
  /** Metres from the origin, and the direction of travel there. */
  x: number;
  y: number;
  dx: number;
  dy: number;
  linkClass: number;
  answer(colour: [number, number, number] | null): void;
}

export class LinkLayer implements CustomLayerInterface {
  readonly id = 'links';
  readonly type = 'custom';
  selected: number | null = null;
  private readonly pieces: Pieces;
  private readonly rows: number;
  private readonly state: Uint8Array;
  private stale = true;
  private palette: Palette | null = null;
  private probes: Probe[] = [];
  private map!: Map;
  private gl!: WebGL2RenderingContext;
  private program!: WebGLProgram;
  private uniforms: Record<string, WebGLUniformLocation | null> = {};
  private shape!: WebGLVertexArrayObject;
  private pieceTexture!: WebGLTexture;
  private stateTexture!: WebGLTexture;

  constructor(private readonly geometry: Geometry) {
    this.pieces = cutIntoPieces(geometry);
    this.rows = Math.max(1, Math.ceil(geometry.nLinks / TEXTURE_WIDTH));
    this.state = new Uint8Array(2 * TEXTURE_WIDTH * this.rows);
  }

  /** Palette index and source (0 guessed, 1 estimated, 2 measured) of every link. */
  paint(step: ArrayLike<number>, source: ArrayLike<number> | null, palette: Palette): void {
    for (let link = 0; link < this.geometry.nLinks; link++) {
      this.state[2 * link] = step[link];
      this.state[2 * link + 1] = source ? source[link] : 2;
    }
    this.palette = palette;
    this.stale = true;
  }

  /** The colour really drawn at a place of the map, read back after the next drawing. */
  probe(probe: Probe): void {
    this.probes.push(probe);
  }

  onAdd(map: Map, gl: WebGL2RenderingContext): void {
    this.map = map;
    this.gl = gl;
    this.program = compile(gl);
    for (const name of UNIFORMS) this.uniforms[name] = gl.getUniformLocation(this.program, `u_${name}`);
    this.shape = gl.createVertexArray(); // empty: the shader makes its corners itself
    gl.activeTexture(gl.TEXTURE0);
    this.unpackPlainly();
    const { texels, rows } = this.pieces;
    this.pieceTexture = this.plainTexture(gl.RGBA32F, 2 * PIECES_PER_ROW, rows);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 2 * PIECES_PER_ROW, rows, gl.RGBA, gl.FLOAT, texels);
    this.stateTexture = this.plainTexture(gl.RG8UI, TEXTURE_WIDTH, this.rows);
    this.stale = true;
  }

  onRemove(): void {
    for (const probe of this.probes.splice(0)) probe.answer(null);
    this.gl.deleteProgram(this.program);
    this.gl.deleteVertexArray(this.shape);
    this.gl.deleteTexture(this.pieceTexture);
    this.gl.deleteTexture(this.stateTexture);
  }

  render(gl: WebGL2RenderingContext, input: CustomRenderMethodInput): void {
    if (this.palette === null) return;
    gl.useProgram(this.program);
    gl.bindVertexArray(this.shape);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.pieceTexture);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.stateTexture);
    if (this.stale) this.upload();
    const matrix = this.fromMetres(input.defaultProjectionData.mainMatrix);
    this.setUniforms(matrix, this.palette);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.disable(gl.CULL_FACE);
    this.draw(0, this.pieces.count);
    if (this.selected !== null) {
      const first = this.pieces.first[this.selected];
      const number = this.pieces.number[this.selected];
      gl.uniform1f(this.uniforms.casing, CASING * this.pixelRatio());
      this.draw(first, number);
      gl.uniform1f(this.uniforms.casing, 0);
      this.draw(first, number);
    }
    gl.bindVertexArray(null);
    for (const probe of this.probes.splice(0)) this.answer(probe, matrix);
  }

  /** CSS pixels between a link's centre line and the middle of its drawn lane. */
  offsetOf(linkClass: number): number {
    return this.classWidths()[linkClass] / 2 + 0.6 / this.pixelRatio();
  }

  metresPerPixel(): number {
    const latitude = (this.map.getCenter().lat * Math.PI) / 180;
    return (EARTH_M * Math.cos(latitude)) / (512 * 2 ** this.map.getZoom());
  }

  private classWidths(): number[] {
    const growth = Math.min(3.4, Math.max(0.6, Math.sqrt(8 / this.metresPerPixel())));
    return CLASS_WIDTH.map((width) => width * growth);
  }

  private pixelRatio(): number {
    return this.gl.drawingBufferWidth / Math.max(1, this.map.getContainer().clientWidth);
  }

  private draw(first: number, number: number): void {
    this.gl.drawArrays(this.gl.TRIANGLES, 6 * first, 6 * number);
  }

  /** A texture that is read texel by texel, never blended. */
  private plainTexture(format: number, width: number, rows: number): WebGLTexture {
    const gl = this.gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, rows);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return texture;
  }

  /** MapLibre may have left these set. */
  private unpackPlainly(): void {
    const gl = this.gl;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  }

  private upload(): void {
    const gl = this.gl;
    this.unpackPlainly();
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, TEXTURE_WIDTH, this.rows, gl.RG_INTEGER, gl.UNSIGNED_BYTE, this.state);
    this.stale = false;
  }

  private setUniforms(matrix: Float64Array, palette: Palette): void {
    const gl = this.gl;
    const ratio = this.pixelRatio();
    const colours = new Float32Array(3 * PALETTE_SIZE);
    const stretch = new Float32Array(PALETTE_SIZE);
    palette.colours.forEach((hex, k) => colours.set(rgb(hex).map((c) => c / 255), 3 * k));
    stretch.set(palette.stretch);
    gl.uniformMatrix4fv(this.uniforms.matrix, false, new Float32Array(matrix));
    gl.uniform2f(this.uniforms.viewport, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.uniform1f(this.uniforms.scale, ratio / this.metresPerPixel());
    gl.uniform1fv(this.uniforms.width, this.classWidths().map((width) => width * ratio));
    gl.uniform3fv(this.uniforms.palette, colours);
    gl.uniform1fv(this.uniforms.stretch, stretch);
    gl.uniform1i(this.uniforms.absent, palette.absent);
    gl.uniform1i(this.uniforms.state, 0);
    gl.uniform1i(this.uniforms.pieces, 1);
    gl.uniform1f(this.uniforms.casing, 0);
    gl.uniform3fv(this.uniforms.casing_colour, rgb(SELECTION_COLOUR).map((c) => c / 255));
  }

  /** MapLibre's matrix maps Mercator units 0..1; ours maps metres from the origin, where float32 is exact enough. */
  private fromMetres(mercator: ArrayLike<number>): Float64Array {
    const origin = MercatorCoordinate.fromLngLat(this.geometry.origin);
    const unit = origin.meterInMercatorCoordinateUnits();
    const matrix = new Float64Array(16);
    for (let row = 0; row < 4; row++) {
      matrix[row] = mercator[row] * unit;
      matrix[4 + row] = -mercator[4 + row] * unit; // Mercator's y grows southwards
      matrix[8 + row] = mercator[8 + row];
      matrix[12 + row] = mercator[row] * origin.x + mercator[4 + row] * origin.y + mercator[12 + row];
    }
    return matrix;
  }

  private answer(probe: Probe, m: Float64Array): void {
    const gl = this.gl;
    const w = m[3] * probe.x + m[7] * probe.y + m[15];
    const ratio = this.pixelRatio();
    const offset = this.offsetOf(probe.linkClass) * ratio;
    const x = (((m[0] * probe.x + m[4] * probe.y + m[12]) / w + 1) / 2) * gl.drawingBufferWidth + probe.dy * offset;
    const y = (((m[1] * probe.x + m[5] * probe.y + m[13]) / w + 1) / 2) * gl.drawingBufferHeight - probe.dx * offset;
    if (x < 0 || y < 0 || x >= gl.drawingBufferWidth || y >= gl.drawingBufferHeight) {
      probe.answer(null);
      return;
    }
    const pixel = new Uint8Array(4);
    gl.readPixels(Math.floor(x), Math.floor(y), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    probe.answer([pixel[0], pixel[1], pixel[2]]);
  }
}
