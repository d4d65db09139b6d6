// All links in one draw call: shapes go to the graphics card once, afterwards two bytes per link and picture.

import { MercatorCoordinate, type CustomLayerInterface, type CustomRenderMethodInput, type Map } from 'maplibre-gl';
import type { Geometry } from '../geometry';
import { rgb, SELECTION_COLOUR } from '../speed';
import { cutIntoPieces, PIECE_BYTES, type Pieces } from './pieces';
import { compile, PALETTE_SIZE, TEXTURE_WIDTH } from './shaders';

const EARTH_M = 40_075_016.686; // equator, as in Web Mercator
const CLASS_WIDTH = [4.4, 3.2, 2.3, 1.7]; // CSS pixels at 8 m per pixel: a city of 6 km on one screen
const CASING = 3.5;

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
  private buffer!: WebGLBuffer;
  private texture!: WebGLTexture;

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
    for (const name of ['matrix', 'viewport', 'scale', 'width', 'palette', 'stretch', 'absent', 'state', 'casing', 'casing_colour'])
      this.uniforms[name] = gl.getUniformLocation(this.program, `u_${name}`);
    this.shape = gl.createVertexArray();
    this.buffer = gl.createBuffer();
    gl.bindVertexArray(this.shape);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, this.pieces.bytes, gl.STATIC_DRAW);
    this.pointAt(0);
    gl.bindVertexArray(null);
    this.texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RG8UI, TEXTURE_WIDTH, this.rows);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST); // integers cannot be blended
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.stale = true;
  }

  onRemove(): void {
    this.gl.deleteProgram(this.program);
    this.gl.deleteBuffer(this.buffer);
    this.gl.deleteVertexArray(this.shape);
    this.gl.deleteTexture(this.texture);
  }

  render(gl: WebGL2RenderingContext, input: CustomRenderMethodInput): void {
    if (this.palette === null) return;
    gl.useProgram(this.program);
    gl.bindVertexArray(this.shape);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
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

  private pointAt(firstPiece: number): void {
    const gl = this.gl;
    const start = firstPiece * PIECE_BYTES;
    const attribute = (name: string, use: (at: number) => void): void => {
      const at = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(at);
      use(at);
      gl.vertexAttribDivisor(at, 1);
    };
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    attribute('a_ends', (at) => gl.vertexAttribPointer(at, 4, gl.FLOAT, false, PIECE_BYTES, start));
    attribute('a_start', (at) => gl.vertexAttribPointer(at, 1, gl.FLOAT, false, PIECE_BYTES, start + 16));
    attribute('a_link', (at) => gl.vertexAttribIPointer(at, 1, gl.UNSIGNED_INT, PIECE_BYTES, start + 20));
    attribute('a_class', (at) => gl.vertexAttribIPointer(at, 1, gl.UNSIGNED_INT, PIECE_BYTES, start + 24));
  }

  private draw(first: number, number: number): void {
    this.pointAt(first); // WebGL 2 has no "first instance"
    this.gl.drawArraysInstanced(this.gl.TRIANGLE_STRIP, 0, 4, number);
  }

  private upload(): void {
    const gl = this.gl;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false); // MapLibre may have left these set
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
