// Alerts as the cockpit knows them: merged from list and live messages, ordered worst first, acknowledged here.

import { computed, signal } from '@preact/signals';
import type { Alert } from './contract';
import { hub } from './hub';
import { pick, t } from './language';
import { announce } from './announcer';

const book = signal<ReadonlyMap<string, Alert> | null>(null);
/** Acknowledgements on their way, and those that failed with the reason. */
export const pending = signal<ReadonlySet<string>>(new Set());
export const failures = signal<ReadonlyMap<string, string>>(new Map());

/** More resolved ones than this are history, not the list of now. */
const RESOLVED_KEPT = 50;

export const keyOf = (alert: Alert): string => String(alert.id);
export const loaded = computed(() => book.value !== null);

function worstFirst(a: Alert, b: Alert): number {
  const fresh = (alert: Alert): number => (alert.handling === 'new' ? 0 : 1);
  return a.severity - b.severity || fresh(a) - fresh(b) || Date.parse(b.since) - Date.parse(a.since) || (keyOf(a) < keyOf(b) ? -1 : 1);
}

export const firing = computed(() =>
  [...(book.value?.values() ?? [])].filter((alert) => alert.state === 'firing').sort(worstFirst),
);
export const resolved = computed(() =>
  [...(book.value?.values() ?? [])]
    .filter((alert) => alert.state === 'resolved')
    .sort((a, b) => Date.parse(b.resolved_at ?? b.updated) - Date.parse(a.resolved_at ?? a.updated))
    .slice(0, RESOLVED_KEPT),
);
export const fresh = computed(() => firing.value.filter((alert) => alert.handling === 'new').length);

export function replaceAlerts(alerts: Alert[]): void {
  book.value = new Map(alerts.map((alert) => [keyOf(alert), alert]));
}

/** A live message; an older one that overtook a newer does not win. */
export function mergeAlert(alert: Alert): void {
  const known = book.value?.get(keyOf(alert));
  if (known && Date.parse(known.updated) > Date.parse(alert.updated)) return;
  book.value = new Map(book.value ?? []).set(keyOf(alert), alert);
  if (!known && alert.state === 'firing') announce(t('saidNewAlert', { severity: alert.severity, summary: pick(alert.summary) }));
}

export async function acknowledge(alert: Alert): Promise<void> {
  const key = keyOf(alert);
  if (alert.handling !== 'new' || pending.value.has(key)) return;
  pending.value = new Set(pending.value).add(key);
  failures.value = new Map([...failures.value].filter(([other]) => other !== key));
  try {
    const answer = await hub.acknowledge(alert.id);
    book.value = new Map(book.value ?? []).set(key, answer);
    announce(t('saidAcknowledged', { summary: pick(alert.summary) }));
  } catch (error) {
    const reason = t('acknowledgeFailed', { reason: (error as Error).message });
    failures.value = new Map(failures.value).set(key, reason);
    announce(reason);
  } finally {
    pending.value = new Set([...pending.value].filter((other) => other !== key));
  }
}
