// What has failed and what is dark because of it, folded until somebody wants the list.

import { city } from '../city';
import type { OutAsset } from '../contract';
import { language, moment, number, pick, t } from '../language';
import { showPlace } from '../locate';
import { outage } from '../outage';
import { kindOf } from '../quantity';
import { Reason } from './reason';

const CONDITIONS = ['failed', 'dark', 'unheard', 'on_battery'] as const;

export function OutageList() {
  const now = outage.value;
  if (!now || now.assets.length === 0) return null;
  const all = CONDITIONS.reduce((sum, condition) => sum + now.counts[condition], 0);
  return (
    <details class="outage">
      <summary>
        <span>
          <b>{t('equipment')}</b>{' '}
          {CONDITIONS.filter((condition) => now.counts[condition] > 0)
            .map((condition) => `${number(now.counts[condition])} ${t(`asset_${condition}`)}`)
            .join(' · ')}
          {now.dark_sensors > 0 && ` · ${t('darkSensors', { n: number(now.dark_sensors) })}`}
        </span>
      </summary>
      <ul>
        {now.assets.map((asset) => (
          <li key={asset.asset_id}>
            <OneAsset asset={asset} />
          </li>
        ))}
      </ul>
      {all > now.assets.length && <p class="quiet">{t('moreAssets', { n: number(all - now.assets.length) })}</p>}
    </details>
  );
}

function OneAsset({ asset }: { asset: OutAsset }) {
  const name = pick({ en: asset.name, zh: asset.name_zh });
  const place = placeOf(asset);
  const said = asset.failure && [asset.failure.author, asset.failure.reason].filter(Boolean).join(language.value === 'zh' ? '：' : ': ');
  return (
    <>
      <div>
        <b>{asset.asset_id}</b> {name && name !== asset.asset_id && <span>{name} </span>}
        <span class="quiet">{kindOf(asset.kind)}</span>
      </div>
      <div>
        <span class={asset.state === 'on_battery' ? '' : 'fault'}>
          {asset.state === 'on_battery' ? '' : '⚠ '}
          {t(`asset_${asset.state}`)}
        </span>
        {asset.since && <span class="quiet"> · {t('since', { time: moment(asset.since) })}</span>}
        {asset.dark_at && <span class="quiet"> · {t('darkAt', { time: moment(asset.dark_at) })}</span>}
      </div>
      {said ? <div class="quiet">{said}</div> : <Reason text={{ en: asset.because, zh: asset.because_zh }} />}
      {place && (
        <button type="button" class="linkbutton" aria-label={`${t('locate')}: ${asset.asset_id}`} onClick={() => showPlace(place)}>
          {t('locate')}
        </button>
      )}
    </>
  );
}

function placeOf(asset: OutAsset): { link: number } | { place: [number, number] } | null {
  const link = city.value?.position.get(asset.link_id);
  if (link !== undefined) return { link };
  return asset.lon_lat ? { place: asset.lon_lat } : null;
}
