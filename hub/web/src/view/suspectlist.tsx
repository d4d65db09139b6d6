// The sensors of the whole city that are not believed, folded until somebody wants the list.

import { city } from '../city';
import type { Suspect, SuspectCode } from '../contract';
import { moment, number, t } from '../language';
import { showMark } from '../locate';
import { keyOfSuspect, spotOf } from '../marks';
import { suspects } from '../places';
import { chooseLink } from '../place';
import { kindOf, wordingOf } from '../quantity';
import { Reason } from './reason';

/** What is wrong with a sensor, and with which of its quantities. */
export function suspectText(suspect: Suspect): string {
  const how = codeText(suspect.code);
  return suspect.quantity === null ? how : `${wordingOf(suspect.quantity).name}: ${how}`;
}

function codeText(code: SuspectCode): string {
  return code === 'silent' ? t('sensorSilent') : code === 'stuck' ? t('sensorStuck') : t(`suspected_${code}`);
}

export function SuspectList() {
  const now = suspects.value;
  if (!now || now.suspects.length === 0) return null;
  const counts = Object.entries(now.counts) as [SuspectCode, number][];
  const all = counts.reduce((sum, [, count]) => sum + count, 0);
  const believed = counts.filter(([code]) => code !== 'silent' && code !== 'stuck').reduce((sum, [, count]) => sum + count, 0);
  const words = [
    now.counts.silent > 0 && `${number(now.counts.silent)} ${t('sensorSilent')}`,
    now.counts.stuck > 0 && `${number(now.counts.stuck)} ${t('sensorStuck')}`,
    believed > 0 && `${number(believed)} ${t('sensorSuspected')}`,
  ].filter(Boolean);
  return (
    <details class="outage suspects">
      <summary>
        <span>
          <b>{t('layer_suspects')}</b> {words.join(' · ')}
        </span>
      </summary>
      <ul>
        {now.suspects.map((suspect) => (
          <li key={keyOfSuspect(suspect)}>
            <OneSuspect suspect={suspect} />
          </li>
        ))}
      </ul>
      {all > now.suspects.length && <p class="quiet">{t('moreAssets', { n: number(all - now.suspects.length) })}</p>}
    </details>
  );
}

function OneSuspect({ suspect }: { suspect: Suspect }) {
  const now = city.value;
  const spot = now && spotOf(now, suspect);
  const show = (): void => {
    if (suspect.link_id !== null && now?.position.has(suspect.link_id)) chooseLink(suspect.link_id);
    showMark(keyOfSuspect(suspect), 'suspects', spot);
  };
  return (
    <>
      <div>
        <b>{suspect.sensor_id}</b> <span class="quiet">{kindOf(suspect.kind)}</span>
      </div>
      <div class="fault">
        <span aria-hidden="true">⚠ </span>
        {suspectText(suspect)}
        {suspect.since && <span class="quiet"> · {t('since', { time: moment(suspect.since) })}</span>}
      </div>
      <Reason text={{ en: suspect.reason, zh: '' }} />
      {spot && (
        <button type="button" class="linkbutton" aria-label={`${t('locate')}: ${suspect.sensor_id}`} onClick={show}>
          {t('locate')}
        </button>
      )}
    </>
  );
}
