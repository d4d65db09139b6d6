// The picture of a mark, as the map draws it.

import { lookOf } from '../map/symbols';

export function MarkPicture({ icon }: { icon: string }) {
  const look = lookOf(icon);
  return (
    <svg class="markpicture" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
      <path d={look.shape} fill={look.fill} stroke={look.edge} stroke-width={look.width} stroke-dasharray={look.dashed ? '3 2.5' : undefined} />
      <path d={look.sign} fill="none" stroke={look.ink} stroke-width="2" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
