// The one line that says what is wrong with the cockpit itself.

import { useEffect, useState } from 'preact/hooks';
import { city, trouble } from '../city';
import { clock, t } from '../language';
import { connection, nextAttempt } from '../live';
import { cityTime } from '../pulse';

export function Notice() {
  return (
    <div class="notice" role="alert">
      {sentence()}
    </div>
  );
}

function sentence() {
  if (city.value === null) {
    if (trouble.value === null) return null;
    return <p>{`${t('waitingForHub')}. ${t('hubSays', { reason: trouble.value })}`}</p>;
  }
  if (connection.value !== 'lost') return null;
  const since = cityTime.value;
  return (
    <p>
      {since === null ? t('connectionLostEarly') : t('connectionLost', { time: clock(since, { seconds: true }) })} <Countdown />
    </p>
  );
}

/** Hidden from screen readers: a sentence that changes every second would be read out every second. */
function Countdown() {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => tick((n) => n + 1), 500);
    return () => window.clearInterval(timer);
  }, []);
  const at = nextAttempt.value;
  const left = at === null ? 0 : Math.ceil((at - performance.now()) / 1000);
  return <span aria-hidden="true">{left > 0 ? t('tryingAgain', { s: left }) : t('tryingNow')}</span>;
}
