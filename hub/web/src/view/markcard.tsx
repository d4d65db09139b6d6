// What a mark says: in a word beside the pointer, and in full in a card when it is chosen.

import { signal } from '@preact/signals';
import type { OutAsset, Place, Suspect } from '../contract';
import { clock, moment, number, pick, t } from '../language';
import { locateLinkOf } from '../locate';
import { chosen, chosenMark, headline, isOld, marks, nameOf, valueText, type Mark } from '../marks';
import { kindOf, wordingOf } from '../quantity';
import { MarkPicture } from './markpicture';
import { Reason } from './reason';
import { suspectText } from './suspectlist';

export const hovered = signal<{ key: string; x: number; y: number } | null>(null);

export function MarkTip() {
  const at = hovered.value;
  const mark = at && marks.value.find((candidate) => candidate.key === at.key);
  if (!at || !mark || mark.key === chosenMark.value) return null;
  return (
    <div class="marktip" role="tooltip" style={{ translate: `${at.x + 14}px ${at.y + 14}px` }}>
      <b>{titleOf(mark)}</b>
      <span>{lineOf(mark)}</span>
    </div>
  );
}

function titleOf({ subject }: Mark): string {
  if ('place' in subject) return nameOf(subject.place);
  if ('asset' in subject) return pick({ en: subject.asset.name, zh: subject.asset.name_zh }) || subject.asset.asset_id;
  return subject.suspect.sensor_id;
}

function lineOf({ subject }: Mark): string {
  if ('place' in subject) return `${t(`layer_${subject.place.theme}`)} · ${headline(subject.place)} · ${ageText(subject.place)}`;
  if ('asset' in subject) return `${kindOf(subject.asset.kind)} · ${t(`asset_${subject.asset.state}`)}`;
  return suspectText(subject.suspect);
}

/** How old the newest value is; in the city's time. */
export function ageText(place: Place): string {
  const age = place.age_s;
  if (age === null) return t('never');
  const shown = age < 120 ? `${number(age)} ${t('seconds')}` : age < 7200 ? `${number(age / 60)} ${t('minutes')}` : `${number(age / 3600)} ${t('hours')}`;
  return t('ago', { age: shown });
}

export function MarkCard() {
  const mark = chosen.value;
  if (!mark) return null;
  const { subject } = mark;
  return (
    <section class="markcard" aria-label={titleOf(mark)} onKeyDown={(event) => event.key === 'Escape' && (chosenMark.value = null)}>
      <div class="panel-head">
        <MarkPicture icon={mark.icon} />
        <h2>{titleOf(mark)}</h2>
        <button type="button" class="close" aria-label={t('closeCard')} onClick={() => (chosenMark.value = null)}>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d="M3 3l10 10M13 3 3 13" stroke="currentColor" stroke-width="2" />
          </svg>
        </button>
      </div>
      {'place' in subject && <PlaceFacts place={subject.place} />}
      {'asset' in subject && <AssetFacts asset={subject.asset} />}
      {'suspect' in subject && <SuspectFacts suspect={subject.suspect} />}
    </section>
  );
}

const LEVELS = ['levelOrdinary', 'levelRaised', 'levelHigh'] as const;

function PlaceFacts({ place }: { place: Place }) {
  return (
    <>
      <p class="quiet">
        {t(`on_${place.on}`)} {place.zone_id} · {kindOf(place.kind)}
      </p>
      <table class="rows">
        <tbody>
          {place.values.map((value) => (
            <tr key={value.quantity}>
              <th scope="row">{wordingOf(value.quantity).name}</th>
              <td>
                <b>{valueText(value.quantity, value.value)}</b>
                {value.level > 0 && <span class="raised"> {t(LEVELS[value.level])}</span>}
              </td>
              <td>{value.time === null ? t('never') : clock(value.time, { seconds: true })}</td>
            </tr>
          ))}
          {place.full_share !== null && (
            <tr>
              <th scope="row">{t('fullShare')}</th>
              <td>
                <b>{number(100 * place.full_share)} %</b>
                {place.level > 0 && <span class="raised"> {t(LEVELS[place.level])}</span>}
              </td>
              <td />
            </tr>
          )}
        </tbody>
      </table>
      <p class={isOld(place) ? 'fault' : 'quiet'}>
        {isOld(place) && <span aria-hidden="true">⚠ </span>}
        {ageText(place)}
        {place.dark ? ` · ${t('sensorDark')}` : place.silent ? ` · ${t('sensorSilent')}` : ''}
      </p>
      <Reason text={{ en: place.because, zh: place.because_zh }} />
      <p class="quiet">
        {t('source')}: {place.sensor_id}
        {place.owner && ` · ${place.owner}`}
      </p>
    </>
  );
}

function AssetFacts({ asset }: { asset: OutAsset }) {
  return (
    <>
      <p class="quiet">
        {asset.asset_id} · {kindOf(asset.kind)}
      </p>
      <p class={asset.state === 'on_battery' ? '' : 'fault'}>
        {t(`asset_${asset.state}`)}
        {asset.since && ` · ${t('since', { time: moment(asset.since) })}`}
        {asset.dark_at && ` · ${t('darkAt', { time: moment(asset.dark_at) })}`}
      </p>
      <Reason text={{ en: asset.because, zh: asset.because_zh }} />
      <ToLink linkId={asset.link_id} />
    </>
  );
}

function SuspectFacts({ suspect }: { suspect: Suspect }) {
  return (
    <>
      <p class="quiet">
        {kindOf(suspect.kind)}
        {suspect.owner && ` · ${suspect.owner}`}
      </p>
      <p>{suspectText(suspect)}</p>
      {suspect.since && <p class="quiet">{t('since', { time: moment(suspect.since) })}</p>}
      <Reason text={{ en: suspect.reason, zh: '' }} />
      <ToLink linkId={suspect.link_id} />
    </>
  );
}

function ToLink({ linkId }: { linkId: string | null }) {
  if (!linkId) return null;
  return (
    <button type="button" class="linkbutton" onClick={() => locateLinkOf(linkId)}>
      {t('link')} {linkId}
    </button>
  );
}
