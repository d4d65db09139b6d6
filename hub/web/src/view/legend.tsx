// What the colours and lines of the map mean, of live speed or of a difference.

import { useSignal } from '@preact/signals';
import { number, t } from '../language';
import { wide } from '../screen';
import { DIFFERENCE_COLOURS, NO_CHANGE, NO_DATA_COLOUR, STEPS } from '../speed';
import { difference, differenceShown } from '../whatif';

export function Legend() {
  // Folded on a phone, where it would cover the map.
  const open = useSignal(wide.peek());
  const changed = differenceShown.value ? difference.value : null;
  return (
    <details class="legend" open={open.value} onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>{t('legendTitle')}</summary>
      <p>{t(changed ? 'differenceLegend' : 'legend')}</p>
      {changed ? <DifferenceKey bounds={changed.bounds} /> : <SpeedKey />}
    </details>
  );
}

function SpeedKey() {
  return (
    <>
      <ol>
        {STEPS.map(({ key, colour }, k) => (
          <li key={key}>
            <svg width="40" height="8" aria-hidden="true">
              <rect y={3 - k / 2} width="40" height={3 + k} rx="1" fill={colour} />
            </svg>
            {t(key)}
          </li>
        ))}
        <li>
          <svg width="40" height="8" aria-hidden="true">
            <path d="M0 4h40" stroke={NO_DATA_COLOUR} stroke-width="2.5" stroke-dasharray="5 4" />
          </svg>
          {t('noData')}
        </li>
      </ol>
      <p>{t('legendSource')}</p>
      <ol class="sources">
        {(['measured', 'estimated', 'guessed'] as const).map((source) => (
          <li key={source}>
            <svg width="40" height="8" aria-hidden="true">
              {source === 'guessed' && <path d="M0 4h40" stroke="#4D5960" stroke-opacity="0.35" stroke-width="2.6" />}
              <path d="M0 4h40" stroke="#4D5960" stroke-width={source === 'measured' ? 5 : 2.6} stroke-dasharray={source === 'guessed' ? '11 3' : undefined} />
            </svg>
            {t(source)}
          </li>
        ))}
      </ol>
    </>
  );
}

function DifferenceKey({ bounds }: { bounds: readonly number[] }) {
  const label = (k: number): string => {
    if (k === NO_CHANGE) return t('noChange');
    const bound = bounds[Math.abs(k - NO_CHANGE) - 1];
    const from = number(bound, bound >= 1 ? 0 : bound >= 0.1 ? 1 : 2);
    return k < NO_CHANGE ? `≤ −${from}` : `≥ +${from}`;
  };
  return (
    <ol>
      {DIFFERENCE_COLOURS.map((colour, k) => (
        <li key={colour}>
          <svg width="40" height="8" aria-hidden="true">
            <rect y={3 - Math.abs(k - NO_CHANGE)} width="40" height={2 + 2 * Math.abs(k - NO_CHANGE)} fill={colour} />
          </svg>
          {label(k)}
        </li>
      ))}
    </ol>
  );
}
