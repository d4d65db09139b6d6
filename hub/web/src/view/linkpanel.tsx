// One link: what it does now, how that is known, its sensors, its last 90 minutes, and what if it were closed.

import { firing, keyOf } from '../alertbook';
import { city } from '../city';
import type { Alert, LinkDetail } from '../contract';
import { change, clock, language, number, pick, t } from '../language';
import { detail, missing } from '../linkdetail';
import { chooseLink, linkId } from '../place';
import { findingOf } from '../quantity';
import { stretchOf, streetOf } from '../streetname';
import type { Word } from '../words/en';
import { SpeedChart } from './chart';
import { LinkFinder } from './linkfinder';
import { PriorityMark } from './prioritymark';
import { Reason } from './reason';
import { SensorTable } from './sensortable';
import { SlowestTable } from './slowesttable';
import { WhatIf } from './whatifpanel';

export function LinkPanel() {
  const id = linkId.value;
  return (
    <section class="panel" id="link" tabIndex={-1} aria-label={t('link')}>
      {id === null ? <NoLink /> : <OneLink id={id} />}
    </section>
  );
}

function NoLink() {
  return (
    <>
      <h2>{t('links')}</h2>
      <p class="quiet">{t('chooseHint')}</p>
      <LinkFinder />
      <SlowestTable />
      <WhatIf link={null} />
    </>
  );
}

function OneLink({ id }: { id: string }) {
  const known = detail.value?.link_id === id ? detail.value : null;
  const position = city.value?.position.get(id);
  return (
    <>
      <div class="panel-head">
        <LinkTitle id={id} known={known} />
        <button type="button" class="close" aria-label={t('closePanel')} onClick={() => chooseLink(null)}>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d="M3 3l10 10M13 3 3 13" stroke="currentColor" stroke-width="2" />
          </svg>
        </button>
      </div>
      {missing.value === id || (city.value && position === undefined) ? (
        <p class="empty">{t('noSuchLink', { id })}</p>
      ) : known === null ? (
        <p class="empty">{t('loadingLink')}</p>
      ) : (
        <Known link={known} position={position} />
      )}
      <LinkFinder />
      <SlowestTable />
    </>
  );
}

function LinkTitle({ id, known }: { id: string; known: LinkDetail | null }) {
  const name = known?.name ?? { en: '', zh: '' };
  const first = pick(name) || id;
  const other = streetOf(language.value === 'zh' ? name.en : name.zh);
  return (
    <div>
      <h2>{streetOf(first)}</h2>
      {stretchOf(first) && <p class="stretch">{stretchOf(first)}</p>}
      <p class="quiet">
        {other && other !== streetOf(first) && <span lang={language.value === 'zh' ? 'en' : 'zh-CN'}>{other} · </span>}
        {t('link')} {id}
      </p>
    </div>
  );
}

function Known({ link, position }: { link: LinkDetail; position: number | undefined }) {
  const { state } = link;
  return (
    <>
      <p class={`source ${state.source}`}>
        <b>{t(`source_${state.source}`)}</b>
        {state.measured_at && <span> · {t('measuredAt', { time: clock(state.measured_at, { seconds: true }) })}</span>}
      </p>
      <dl class="values">
        <Value name={t('speed')} value={state.speed_kmh} deviation={state.speed_sd_kmh} between={[state.speed_low_kmh, state.speed_high_kmh]} unit="km/h" digits={0} />
        <Value name={t('flow')} value={state.flow_veh_h} deviation={state.flow_sd_veh_h} between={[state.flow_low_veh_h, state.flow_high_veh_h]} unit="veh/h" digits={0} />
        <Value name={t('density')} value={state.density_veh_km} deviation={null} between={null} unit="veh/km" digits={0} />
      </dl>
      <p class="quiet">{t('intervalNote')}</p>
      <Probes passages={state.probe_vehicles} />
      <EquipmentHere link={link} />
      <AlertsHere id={link.link_id} />
      <h3>{t('history')} (km/h)</h3>
      {link.history.time.length > 1 ? (
        <SpeedChart history={link.history} freeSpeed={link.free_speed_kmh} />
      ) : (
        <p class="empty">{t('historyEmpty')}</p>
      )}
      {position !== undefined && <WhatIf link={position} />}
      <Truth link={link} />
      <h3>{t('sensors')}</h3>
      <SensorTable sensors={link.sensors} />
      <h3>{t('about')}</h3>
      <About link={link} />
    </>
  );
}

/** One that has faded to less than half a passage carries no speed any more. */
function Probes({ passages }: { passages: number | null }) {
  if (passages === null || passages < 0.5) return null;
  return <p class="quiet">{t('probes', { n: number(passages) })}</p>;
}

function EquipmentHere({ link }: { link: LinkDetail }) {
  if (link.equipment.length === 0) return null;
  return (
    <>
      <h3>{t('equipment')}</h3>
      <ul class="here">
        {link.equipment.map((sentence, k) => (
          <li key={sentence}>
            <span class="fault" aria-hidden="true">
              ⚠
            </span>
            <Reason text={{ en: sentence, zh: link.equipment_zh[k] ?? '' }} />
          </li>
        ))}
      </ul>
    </>
  );
}

interface ValueProps {
  name: string;
  value: number | null;
  deviation: number | null;
  /** Ends of the 90 % interval. */
  between: [number | null, number | null] | null;
  unit: string;
  digits: number;
}

function Value({ name, value, deviation, between, unit, digits }: ValueProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <b>{number(value, digits)}</b>
        <span>
          {deviation !== null && value !== null && `± ${number(deviation, deviation < 1 ? 1 : digits)} `}
          {unit}
        </span>
        {between !== null && between[0] !== null && between[1] !== null && (
          <span class="between">
            90 %: {number(between[0], digits)}–{number(between[1], digits)}
          </span>
        )}
      </dd>
    </div>
  );
}

function Truth({ link }: { link: LinkDetail }) {
  const street = link.truth;
  if (!street) return null;
  const rows = [
    { name: t('speed'), unit: 'km/h', street: street.speed_kmh, twin: link.state.speed_kmh },
    { name: t('flow'), unit: 'veh/h', street: street.flow_veh_h, twin: link.state.flow_veh_h },
  ];
  return (
    <table class="rows truth">
      <caption>{t('truth')}</caption>
      <thead>
        <tr>
          <td />
          <th scope="col">{t('truthStreet')}</th>
          <th scope="col">{t('truthTwin')}</th>
          <th scope="col">{t('truthError')}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.unit}>
            <th scope="row">
              {row.name} ({row.unit})
            </th>
            <td>{number(row.street)}</td>
            <td>{number(row.twin)}</td>
            <td>{row.street === null || row.twin === null ? '–' : change(row.twin - row.street)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function AlertsHere({ id }: { id: string }) {
  const here = firing.value.filter((alert) => alert.link_id === id);
  if (here.length === 0) return null;
  return (
    <>
      <h3>{t('alertsHere')}</h3>
      <ul class="here">
        {here.map((alert) => (
          <li key={keyOf(alert)}>
            <PriorityMark severity={alert.severity} filled={alert.handling === 'new'} />
            <div>
              {pick(alert.summary)}, {t('since', { time: clock(alert.since) })}
              {evidenceText(alert) && <div class="quiet">{t('evidence', { values: evidenceText(alert) })}</div>}
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}

function evidenceText(alert: Alert): string {
  const parts: string[] = [];
  for (const [key, value] of Object.entries(alert.evidence ?? {})) {
    const wording = findingOf(key);
    if (wording === null || typeof value !== 'number') continue;
    parts.push(`${wording.name} ${number(value * wording.factor, wording.digits)} ${wording.unit}`.trimEnd());
  }
  return parts.join(', ');
}

function About({ link }: { link: LinkDetail }) {
  const facts: { word: Word; column: string[]; value: string }[] = [
    { word: 'length', column: ['length'], value: `${number(link.length_m)} m` },
    { word: 'lanes', column: ['lanes'], value: number(link.lanes) },
    { word: 'freeFlow', column: ['free_speed'], value: `${number(link.free_speed_kmh)} km/h` },
    { word: 'capacity', column: ['capacity'], value: link.capacity_veh_h === null ? '–' : `${number(link.capacity_veh_h)} veh/h` },
  ];
  return (
    <dl class="facts">
      {facts.map(({ word, column, value }) => (
        <div key={word}>
          <dt>{t(word)}</dt>
          <dd>
            {value} {column.some((name) => link.assumed.includes(name)) && <span class="quiet">({t('assumed')})</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}
