// The two small programs that draw links: two triangles per straight piece, coloured by a byte per link.

import { PIECES_PER_ROW } from './pieces';

/** Colours that one picture can have; the uniform arrays are this long. */
export const PALETTE_SIZE = 8;
export const TEXTURE_WIDTH = 1024;

export const VERTEX_SHADER = `#version 300 es
precision highp float;
precision highp int;
uniform mat4 u_matrix;          // metres from the origin -> clip space
uniform vec2 u_viewport;        // pixels
uniform float u_scale;          // pixels per metre
uniform float u_width[4];       // pixels, by link class
uniform vec3 u_palette[${PALETTE_SIZE}];
uniform float u_stretch[${PALETTE_SIZE}]; // width factor of each colour
uniform int u_absent;           // palette index of "no data", drawn thin and dotted
uniform highp usampler2D u_state; // per link: palette index, source (0 guessed, 1 estimated, 2 measured)
uniform float u_casing;         // pixels of selection colour on both sides; 0: the link itself
uniform vec3 u_casing_colour;
uniform highp sampler2D u_pieces; // per piece two texels: from and to in metres; start, link, class
out vec3 v_colour;
out vec2 v_place;               // pixels along (0 = from), pixels across
out float v_travelled;          // pixels along the whole link
flat out float v_length;
flat out float v_half;
flat out vec3 v_dash;           // pixels: period, drawn part, period 0: solid; and how much of the colour fills the gap

void main() {
  int piece = gl_VertexID / 6;
  ivec2 texel = ivec2(2 * (piece % ${PIECES_PER_ROW}), piece / ${PIECES_PER_ROW});
  vec4 ends = texelFetch(u_pieces, texel, 0);
  vec4 facts = texelFetch(u_pieces, texel + ivec2(1, 0), 0);
  int link = int(facts.y);
  vec4 from = u_matrix * vec4(ends.xy, 0.0, 1.0);
  vec4 to = u_matrix * vec4(ends.zw, 0.0, 1.0);
  vec2 p = from.xy / from.w * u_viewport * 0.5;
  vec2 q = to.xy / to.w * u_viewport * 0.5;
  float len = max(length(q - p), 1e-4);
  vec2 along = (q - p) / len;
  vec2 right = vec2(along.y, -along.x); // traffic keeps right: the two directions lie side by side

  uvec2 state = texelFetch(u_state, ivec2(link % ${TEXTURE_WIDTH}, link / ${TEXTURE_WIDTH}), 0).rg;
  int colour = int(state.r);
  bool absent = colour == u_absent;
  float lane = u_width[int(facts.z)];
  float known = state.g == 2u ? 1.0 : 0.62;
  float width = absent ? min(lane * 0.5, u_scale + 1.6) : lane * known * u_stretch[colour];
  float gap = max(3.0, 1.3 * width); // long strokes and pale gaps: where much is guessed, the map stays calm
  v_dash = absent ? vec3(8.0, 4.0, 0.0) : state.g == 0u ? vec3(6.0 * gap, 5.0 * gap, 0.35) : vec3(0.0);
  v_colour = u_palette[colour];
  if (u_casing > 0.0) {
    width = lane * u_stretch[colour] + 2.0 * u_casing;
    v_dash = vec3(0.0);
    v_colour = u_casing_colour;
  }
  v_half = max(width, 1.0) * 0.5;
  v_length = len;

  int turn = gl_VertexID % 6; // two triangles: 0 1 2, 2 1 3
  int which = turn < 3 ? turn : turn == 3 ? 2 : turn == 4 ? 1 : 3;
  vec2 corner = vec2(float(which & 1), float(which >> 1) * 2.0 - 1.0);
  float reach = v_half + 1.0; // room for the soft rim and the round ends
  v_place = vec2(mix(-reach, len + reach, corner.x), corner.y * reach);
  v_travelled = facts.x * u_scale + v_place.x;
  vec2 at = p + along * v_place.x + right * (v_place.y + lane * 0.5 + 0.6);
  bool behind = from.w <= 0.0 || to.w <= 0.0;
  gl_Position = behind ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(at / u_viewport * 2.0, 0.0, 1.0);
}`;

export const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 v_colour;
in vec2 v_place;
in float v_travelled;
flat in float v_length;
flat in float v_half;
flat in vec3 v_dash;
out vec4 colour;

void main() {
  float beyond = max(max(-v_place.x, v_place.x - v_length), 0.0);
  float cover = clamp(v_half + 0.5 - length(vec2(beyond, v_place.y)), 0.0, 1.0);
  if (v_dash.x > 0.0) {
    float phase = mod(v_travelled, v_dash.x);
    cover *= mix(v_dash.z, 1.0, clamp(min(phase, v_dash.y - phase) + 0.5, 0.0, 1.0));
  }
  if (cover < 0.02) discard;
  colour = vec4(v_colour * cover, cover); // premultiplied, as MapLibre blends
}`;

export function compile(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, text] of [
    [gl.VERTEX_SHADER, VERTEX_SHADER],
    [gl.FRAGMENT_SHADER, FRAGMENT_SHADER],
  ] as const) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error('the graphics device gave no shader'); // only when the context is lost
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
      throw new Error(`link shader: ${gl.getShaderInfoLog(shader)}`);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(`link program: ${gl.getProgramInfoLog(program)}`);
  return program;
}
