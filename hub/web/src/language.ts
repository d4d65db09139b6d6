// Which language is spoken, the words in it, and how numbers and times are written.

import { effect, signal } from '@preact/signals';
import type { Bilingual } from './contract';
import { en, type Word } from './words/en';
import { zh } from './words/zh';

export type Language = 'en' | 'zh';
const WORDS: Record<Language, Record<Word, string>> = { en, zh };
const REMEMBERED = 'citytwin.language';

/** The browser's store, or null where the user has forbidden it (then even looking at it throws). */
function memory(): Storage | null {
  try {
    return window.localStorage;
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

function firstLanguage(): Language {
  const asked = new URLSearchParams(location.search).get('lang') ?? memory()?.getItem(REMEMBERED);
  if (asked === 'en' || asked === 'zh') return asked;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export const language = signal<Language>(firstLanguage());
/** IANA zone of the city, in which all times are written. */
export const timezone = signal('UTC');

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
});

export function speak(next: Language): void {
  language.value = next;
  memory()?.setItem(REMEMBERED, next);
}

/** The word in the current language, `{name}` replaced by the values given. */
export function t(word: Word, values: Record<string, string | number> = {}): string {
  return WORDS[language.value][word].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The current language's side of a pair; the other one where it is empty. */
export function pick(pair: Bilingual): string {
  return language.value === 'zh' ? pair.zh || pair.en : pair.en || pair.zh;
}

export function number(value: number | null | undefined, digits = 0): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const shown = Number(value.toFixed(digits)) === 0 ? 0 : value; // no "-0"
  return new Intl.NumberFormat(language.value, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(shown);
}

/** With its sign: `+12`, `−3`, `0`. */
export function change(value: number, digits = 0): string {
  const text = number(Math.abs(value), digits);
  if (Number(value.toFixed(digits)) === 0) return text;
  return (value > 0 ? '+' : '−') + text;
}

function zoned(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const locale = language.value === 'zh' ? 'zh-CN' : 'en-GB';
  try {
    return new Intl.DateTimeFormat(locale, { ...options, timeZone: timezone.value });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a zone that this browser does not know
    return new Intl.DateTimeFormat(locale, { ...options, timeZone: 'UTC' });
  }
}

type Time = string | number | Date;

export function clock(time: Time, options: { seconds?: boolean } = {}): string {
  const second = options.seconds ? ({ second: '2-digit' } as const) : {};
  return zoned({ hour: '2-digit', minute: '2-digit', ...second, hourCycle: 'h23' }).format(new Date(time));
}

export function day(time: Time): string {
  return zoned({ weekday: 'short', day: 'numeric', month: 'short' }).format(new Date(time));
}

/** Day and time, of what may have lasted for days. */
export function moment(time: Time): string {
  return `${day(time)} ${clock(time)}`;
}
