// Names of links say "street, from → to"; maps and titles want the two parts apart.

const PARTS = /^(.+?)[,，]\s*([^,，]*→.*)$/;

/** The street alone: what stands on its sign. */
export function streetOf(name: string): string {
  return PARTS.exec(name)?.[1] ?? name;
}

/** From where to where on the street; empty when the name does not say. */
export function stretchOf(name: string): string {
  return PARTS.exec(name)?.[2] ?? '';
}
