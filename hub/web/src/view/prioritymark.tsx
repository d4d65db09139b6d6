// The mark of an alert: shape, number and colour; filled until acknowledged.

import { t } from '../language';
import { appearanceOf } from '../severity';

export function PriorityMark({ severity, filled }: { severity: number; filled: boolean }) {
  const { number, colour, path } = appearanceOf(severity);
  const label = `${t('priority', { n: number })}, ${t(filled ? 'stateNew' : 'stateAcknowledged')}`;
  return (
    <svg class="mark" viewBox="0 0 22 22" width="22" height="22" role="img" aria-label={label}>
      <path d={path} fill={filled ? colour : '#FFFFFF'} stroke={colour} stroke-width="2" stroke-linejoin="round" />
      <text x="11" y={number === 2 ? 17 : 15.2} text-anchor="middle" fill={filled ? '#FFFFFF' : colour} aria-hidden="true">
        {number}
      </text>
    </svg>
  );
}
