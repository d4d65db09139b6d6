// City, clock, age of the data, language.

import { city, cityName } from '../city';
import { clock, day, language, number, speak, t } from '../language';
import { connection } from '../live';
import { age, cityTime, factor, OLD_S } from '../pulse';
import { wide } from '../screen';

export function Header() {
  return (
    <header class="header">
      <h1>{cityName.value || t('product')}</h1>
      {city.value?.network.demo && <span class="demo">{t(wide.value ? 'demoBadge' : 'demoShort')}</span>}
      <Clock />
      <Age />
      <button
        type="button"
        class="language"
        lang={language.value === 'zh' ? 'en' : 'zh-CN'}
        aria-label={t('otherLanguageLabel')}
        onClick={() => speak(language.value === 'zh' ? 'en' : 'zh')}
      >
        {t('otherLanguage')}
      </button>
    </header>
  );
}

function Clock() {
  const now = cityTime.value;
  if (now === null) return null;
  const fast = factor.value;
  return (
    <span class="clock">
      <span class="clock-word">{t('cityTime')}</span> <span class="clock-day">{day(now)}</span> <b>{clock(now, { seconds: true })}</b>
      {fast !== 1 && (
        <span class="factor" title={t('timesFaster', { factor: number(fast, fast < 10 && fast % 1 ? 1 : 0) })}>
          {' '}
          ×{number(fast, fast < 10 && fast % 1 ? 1 : 0)}
        </span>
      )}
    </span>
  );
}

function Age() {
  const seconds = age.value;
  if (seconds === null) return <span class="age">{t('noFrameYet')}</span>;
  const old = seconds > OLD_S || connection.value === 'lost';
  const shown = seconds < 120 ? `${Math.floor(seconds)} ${t('seconds')}` : `${Math.floor(seconds / 60)} ${t('minutes')}`;
  return (
    <span class={old ? 'age old' : 'age'} data-age={seconds.toFixed(1)}>
      {t(old ? 'dataOld' : 'dataAge')} <b>{shown}</b>
    </span>
  );
}
