// Alerts, worst first: arrows choose, Enter shows on the map, A acknowledges.

import { signal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { acknowledge, failures, firing, fresh, keyOf, loaded, pending, resolved } from '../alertbook';
import type { Alert } from '../contract';
import { clock, number, pick, t } from '../language';
import { locateAlert } from '../locate';
import { linkId } from '../place';
import { PriorityMark } from './prioritymark';

/** A flood of alerts must not freeze the page: the worst come first, more on request. */
const SHOWN_AT_ONCE = 100;
const shown = signal(SHOWN_AT_ONCE);

export function AlertList() {
  const list = useRef<HTMLUListElement>(null);
  const alerts = firing.value.slice(0, shown.value);
  const hidden = firing.value.length - alerts.length;
  return (
    <section class="alerts" aria-labelledby="alerts-title">
      <h2 id="alerts-title" tabIndex={-1}>
        {t('alerts')} <span>{t('alertCounts', { fresh: number(fresh.value), all: number(firing.value.length) })}</span>
      </h2>
      {alerts.length === 0 && <p class="empty">{t(loaded.value ? 'noAlerts' : 'loadingAlerts')}</p>}
      <ul ref={list} onKeyDown={(event) => steer(event, list.current)}>
        {alerts.map((alert) => (
          <FiringAlert key={keyOf(alert)} alert={alert} />
        ))}
      </ul>
      {hidden > 0 && (
        <button type="button" class="plain" onClick={() => (shown.value += SHOWN_AT_ONCE)}>
          {t('moreAlerts', { n: number(Math.min(hidden, SHOWN_AT_ONCE)) })}
        </button>
      )}
      <ResolvedAlerts />
      {alerts.length > 0 && <p class="keys">{t('alertKeys')}</p>}
    </section>
  );
}

function FiringAlert({ alert }: { alert: Alert }) {
  const key = keyOf(alert);
  const isNew = alert.handling === 'new';
  const failed = failures.value.get(key);
  const chosen = alert.link_id !== null && alert.link_id === linkId.value;
  return (
    <li class={chosen ? 'chosen' : ''} data-alert={key}>
      <PriorityMark severity={alert.severity} filled={isNew} />
      <button type="button" class="locate" title={t('locate')} onClick={() => locateAlert(alert)}>
        <AlertText alert={alert} />
      </button>
      <span class="time">{t('since', { time: clock(alert.since) })}</span>
      {isNew ? (
        <button
          type="button"
          class="acknowledge"
          aria-label={t('acknowledgeAlert', { summary: pick(alert.summary) })}
          aria-disabled={pending.value.has(key)}
          onClick={() => void acknowledge(alert)}
        >
          {t('acknowledge')}
        </button>
      ) : (
        <span class="handled">{handledText(alert)}</span>
      )}
      {failed && <p class="failed">{failed}</p>}
    </li>
  );
}

/** The place is left out where the sentence has named it already. */
function AlertText({ alert }: { alert: Alert }) {
  const [sentence, place] = [pick(alert.summary), pick(alert.where)];
  return (
    <>
      <b>{sentence}</b>
      {!sentence.includes(place) && <span>{place}</span>}
    </>
  );
}

function handledText(alert: Alert): string {
  const done = alert.acknowledged;
  if (!done) return t('stateAcknowledged');
  const time = clock(done.at);
  return done.by ? t('acknowledgedBy', { who: done.by, time }) : t('acknowledgedAt', { time });
}

function ResolvedAlerts() {
  if (resolved.value.length === 0) return null;
  return (
    <details class="resolved">
      <summary>{t('resolvedAlerts', { n: number(resolved.value.length) })}</summary>
      <ul>
        {resolved.value.map((alert) => (
          <li key={keyOf(alert)} data-alert={keyOf(alert)}>
            <PriorityMark severity={alert.severity} filled={false} />
            <button type="button" class="locate" title={t('locate')} onClick={() => locateAlert(alert)}>
              <AlertText alert={alert} />
            </button>
            <span class="time">{t('resolvedAt', { time: clock(alert.resolved_at ?? alert.updated) })}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}

/** Keys work only while the list has the focus, so that a letter typed elsewhere does nothing (WCAG 2.1.4). */
function steer(event: KeyboardEvent, list: HTMLUListElement | null): void {
  if (!list || event.ctrlKey || event.metaKey || event.altKey) return;
  const items = [...list.querySelectorAll<HTMLLIElement>('li')];
  const at = items.findIndex((item) => item.contains(event.target as Node));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step !== undefined) {
    event.preventDefault();
    const next = items[Math.min(items.length - 1, Math.max(0, at + step))];
    next?.querySelector<HTMLButtonElement>('.locate')?.focus();
  } else if (event.key === 'Home' || event.key === 'End') {
    event.preventDefault();
    items.at(event.key === 'Home' ? 0 : -1)?.querySelector<HTMLButtonElement>('.locate')?.focus();
  } else if (event.key.toLowerCase() === 'a' && at >= 0) {
    const alert = firing.value.find((candidate) => keyOf(candidate) === items[at].dataset.alert);
    if (alert) {
      items[at].querySelector<HTMLButtonElement>('.locate')?.focus(); // its button is about to go
      void acknowledge(alert);
    }
  }
}

/** An arrow key anywhere on the bare page leads into the list. */
export function leadArrowsIntoList(): void {
  document.addEventListener('keydown', (event) => {
    if (event.target !== document.body || (event.key !== 'ArrowDown' && event.key !== 'ArrowUp')) return;
    const first = document.querySelector<HTMLButtonElement>('.alerts li .locate');
    if (!first || first.offsetParent === null) return;
    event.preventDefault();
    first.focus();
  });
}
