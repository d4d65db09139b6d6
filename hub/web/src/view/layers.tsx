// Which marks the map shows: one box a layer, with its picture and how much of it deviates.

import { useSignal } from '@preact/signals';
import { number, t } from '../language';
import { countOf, LAYERS, toggleLayer, type Layer } from '../marks';
import { hiddenLayers } from '../place';
import { differenceShown, run } from '../whatif';
import { MarkPicture } from './markpicture';

const PICTURES: Record<Layer, string> = {
  weather: 'weather-0',
  air: 'air-0',
  parking: 'parking-0',
  transit: 'transit-0',
  event: 'event-0',
  equipment: 'asset-signal-dark',
  suspects: 'suspect-suspected',
};

const KEY = [
  ['weather-0', 'levelOrdinary'],
  ['weather-1', 'levelRaised'],
  ['weather-2', 'levelHigh'],
  ['weather-old', 'levelOld'],
  ['asset-other-failed', 'asset_failed'],
  ['asset-other-dark', 'asset_dark'],
  ['asset-other-unheard', 'asset_unheard'],
  ['asset-other-on_battery', 'asset_on_battery'],
  ['suspect-suspected', 'sensorSuspected'],
  ['suspect-stuck', 'sensorStuck'],
  ['suspect-silent', 'sensorSilent'],
] as const;

export function Layers() {
  const open = useSignal(false);
  if (run.value?.state === 'done' && differenceShown.value) return null; // the map shows no marks then
  return (
    <details class="layers" open={open.value} onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>{t('layers')}</summary>
      <ul>
        {LAYERS.map((layer) => {
          const { all, high } = countOf(layer);
          return (
            <li key={layer}>
              <label>
                <input type="checkbox" checked={!hiddenLayers.value.has(layer)} onChange={() => toggleLayer(layer)} />
                <MarkPicture icon={PICTURES[layer]} />
                {t(`layer_${layer}`)}
                <span class="quiet">{layer === 'equipment' || layer === 'suspects' ? number(all) : t('ofThemHigh', { all: number(all), high: number(high) })}</span>
              </label>
            </li>
          );
        })}
      </ul>
      <ul class="markkey">
        {KEY.map(([icon, word]) => (
          <li key={icon}>
            <MarkPicture icon={icon} />
            {t(word)}
          </li>
        ))}
      </ul>
    </details>
  );
}
