// The city in five numbers, each with its unit.

import type { ComponentChildren } from 'preact';
import { city, summary } from '../city';
import { number, t } from '../language';

export function Indicators() {
  const now = summary.value;
  const share = now?.speed_ratio;
  return (
    <dl class="indicators" aria-label={t('indicators')}>
      <Indicator name={t('networkSpeed')} value={share == null ? null : number(share * 100)} unit={t('ofFreeFlow')} />
      <Indicator name={t('congestedLength')} value={now?.congested_km == null ? null : number(now.congested_km, 1)} unit="km" />
      <Indicator name={t('delay')} value={now?.delay_veh_h_per_h == null ? null : number(now.delay_veh_h_per_h)} unit={t('delayUnit')} />
      <Indicator
        name={t('sensorsReporting')}
        value={now ? number(now.sensors_reporting) : null}
        unit={now ? t('ofSensors', { total: number(now.sensors_total) }) : ''}
      />
      {city.value?.network.demo && <EstimateError />}
      {city.value && <Version sha256={city.value.network.network_sha256} links={city.value.network.n_links} />}
    </dl>
  );
}

function EstimateError() {
  const error = summary.value?.estimate_error;
  return (
    <Indicator
      wide
      name={t('estimateError')}
      value={error?.speed_kmh_mae == null ? null : `${number(error.speed_kmh_mae, 1)} km/h`}
      unit={error?.flow_veh_h_mae == null ? '' : `· ${number(error.flow_veh_h_mae)} veh/h`}
      note={t('estimateErrorNote')}
    />
  );
}

/** As many letters as tell two versions apart; `citytwin network info` says all 64. */
const SHORT = 12;

function Version({ sha256, links }: { sha256: string; links: number }) {
  return (
    <div class="indicator wide version">
      <dt>{t('networkVersion')}</dt>
      <dd>
        <code title={sha256}>{sha256.slice(0, SHORT)}</code> <span>{t('ofLinks', { n: number(links) })}</span>
      </dd>
    </div>
  );
}

interface Props {
  name: string;
  value: ComponentChildren;
  unit: string;
  note?: string;
  wide?: boolean;
}

function Indicator({ name, value, unit, note, wide }: Props) {
  return (
    <div class={wide ? 'indicator wide' : 'indicator'}>
      <dt>{name}</dt>
      <dd>{value === null ? <span class="quiet">{t('unknown')}</span> : <><b>{value}</b> <span>{unit}</span></>}</dd>
      {note && <dd class="note">{note}</dd>}
    </div>
  );
}
