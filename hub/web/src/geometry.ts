// The shape of every link, decoded once: `CTG1`, offsets into points, metres east and north of the origin.

const METRES_PER_DEGREE = 111319.49; // WGS84 equator / 360, the same constant as the hub's encoder

export interface Geometry {
  nLinks: number;
  /** (n_links + 1): link i owns points offsets[i] .. offsets[i + 1] - 1. */
  offsets: Uint32Array;
  /** (2 n_points) metres: east, north, east, north, ... */
  xy: Float32Array;
  /** (n_links) 0 most important .. 3 least. */
  linkClass: Uint8Array;
  origin: [number, number];
}

/** @throws RangeError when the bytes are not a `CTG1` block of the length that its header claims. */
export function decodeGeometry(bytes: ArrayBuffer, origin: [number, number]): Geometry {
  const header = new DataView(bytes);
  const magic = String.fromCharCode(...new Uint8Array(bytes, 0, Math.min(4, bytes.byteLength)));
  if (magic !== 'CTG1') throw new RangeError(`geometry starts with ${JSON.stringify(magic)}, expected "CTG1"`);
  const nLinks = header.getUint32(4, true);
  const nPoints = header.getUint32(8, true);
  const offsetsAt = 16;
  const pointsAt = offsetsAt + 4 * (nLinks + 1);
  const classAt = pointsAt + 8 * nPoints;
  if (bytes.byteLength < classAt + nLinks) throw new RangeError(`geometry is cut short at ${bytes.byteLength} bytes`);
  return {
    nLinks,
    offsets: new Uint32Array(bytes, offsetsAt, nLinks + 1),
    xy: new Float32Array(bytes, pointsAt, 2 * nPoints),
    linkClass: new Uint8Array(bytes, classAt, nLinks),
    origin,
  };
}

export function toLonLat(geometry: Geometry, x: number, y: number): [number, number] {
  const [lon, lat] = geometry.origin;
  return [lon + x / (Math.cos((lat * Math.PI) / 180) * METRES_PER_DEGREE), lat + y / METRES_PER_DEGREE];
}

export function toMetres(geometry: Geometry, lon: number, lat: number): [number, number] {
  const [lon0, lat0] = geometry.origin;
  return [(lon - lon0) * Math.cos((lat0 * Math.PI) / 180) * METRES_PER_DEGREE, (lat - lat0) * METRES_PER_DEGREE];
}

/** Point half-way along a link and the unit vector of travel there, in metres. */
export function middleOf(geometry: Geometry, link: number): { x: number; y: number; dx: number; dy: number } {
  const { offsets, xy } = geometry;
  const first = offsets[link];
  const last = offsets[link + 1] - 1;
  let total = 0;
  for (let p = first; p < last; p++) total += segmentLength(xy, p);
  let left = total / 2;
  for (let p = first; p < last; p++) {
    const length = segmentLength(xy, p);
    if (length > 0 && (left <= length || p === last - 1)) {
      const share = Math.min(1, left / length);
      const dx = xy[2 * p + 2] - xy[2 * p];
      const dy = xy[2 * p + 3] - xy[2 * p + 1];
      return { x: xy[2 * p] + share * dx, y: xy[2 * p + 1] + share * dy, dx: dx / length, dy: dy / length };
    }
    left -= length;
  }
  return { x: xy[2 * first], y: xy[2 * first + 1], dx: 1, dy: 0 };
}

function segmentLength(xy: Float32Array, p: number): number {
  return Math.hypot(xy[2 * p + 2] - xy[2 * p], xy[2 * p + 3] - xy[2 * p + 1]);
}
