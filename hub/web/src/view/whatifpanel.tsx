// Close a link for half an hour and see what changes: button, progress, table.

import { city } from '../city';
import type { Run } from '../contract';
import { change, number, pick, t } from '../language';
import { goTo, runId } from '../place';
import { backToLive, closeForHalfAnHour, difference, differenceShown, failure, run } from '../whatif';
import { LinkButton } from './slowesttable';

const LINKS_SHOWN = 6;

export function WhatIf({ link }: { link: number | null }) {
  const now = run.value;
  const busy = runId.value !== null && (now === null || now.state === 'running');
  if (link === null && runId.value === null && failure.value === null) return null;
  return (
    <div class="whatif">
      <h3>{t('whatIf')}</h3>
      {link !== null && (
        <button type="button" class="primary" aria-disabled={busy} onClick={() => !busy && void closeForHalfAnHour(link)}>
          {t('closeLink')}
        </button>
      )}
      {busy && <Progress share={now?.progress ?? 0} />}
      {failure.value !== null && <p class="failed">{t('runFailed', { reason: failure.value })}</p>}
      {now?.state === 'done' && <Difference done={now} />}
    </div>
  );
}

function Progress({ share }: { share: number }) {
  return (
    <p class="progress">
      <label for="progress">{t('running')}</label>
      <progress id="progress" max={1} value={share > 0 ? share : undefined} />
      {share > 0 && `${number(share * 100)} %`}
    </p>
  );
}

function Difference({ done }: { done: Run }) {
  const { baseline, scenario, difference: changed } = done;
  if (!baseline || !scenario || !changed) return null;
  const rows = [
    { name: t('totalTime'), unit: 'veh·h', key: 'total_time_spent_veh_h', digits: 1 },
    { name: t('totalDelay'), unit: 'veh·h', key: 'total_delay_veh_h', digits: 1 },
    { name: t('arrived'), unit: 'veh', key: 'arrived', digits: 0 },
  ] as const;
  return (
    <>
      {done.name && <p>{done.name}</p>}
      <p class="basis">{done.basis ? pick(done.basis) : t('basis')}</p>
      <table class="rows difference">
        <thead>
          <tr>
            <td />
            <th scope="col">{t('baseline')}</th>
            <th scope="col">{t('closed')}</th>
            <th scope="col">{t('difference')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <th scope="row">
                {row.name} ({row.unit})
              </th>
              <td>{number(baseline[row.key], row.digits)}</td>
              <td>{number(scenario[row.key], row.digits)}</td>
              <td>
                <b>{change(changed[row.key], row.digits)}</b>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <MostChanged />
      <div class="buttons">
        <label class="check">
          <input type="checkbox" checked={differenceShown.value} onChange={(event) => (differenceShown.value = event.currentTarget.checked)} />
          {t('showDifference')}
        </label>
        <button type="button" class="plain only-phone" onClick={() => goTo('map')}>
          {t('map')}
        </button>
        <button type="button" class="plain" onClick={backToLive}>
          {t('backToLive')}
        </button>
      </div>
    </>
  );
}

function MostChanged() {
  const shown = difference.value;
  if (!shown || !city.value) return null;
  const changed = [...shown.change.keys()]
    .filter((link) => Math.abs(shown.change[link]) >= 0.05) // less than the digit shown
    .sort((a, b) => Math.abs(shown.change[b]) - Math.abs(shown.change[a]))
    .slice(0, LINKS_SHOWN);
  if (changed.length === 0) return <p class="empty">{t('nothingChanged')}</p>;
  return (
    <table class="rows">
      <caption>{t('mostChanged')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('link')}</th>
          <th scope="col">{t('totalDelay')} (veh·h)</th>
        </tr>
      </thead>
      <tbody>
        {changed.map((link) => (
          <tr key={link}>
            <td>
              <LinkButton link={link} />
            </td>
            <td>{change(shown.change[link], 1)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

