// The three sections of a small screen.

import { fresh } from '../alertbook';
import { number, t } from '../language';
import { goTo, view, VIEWS } from '../place';

const WORDS = { alerts: 'alerts', map: 'map', link: 'link' } as const;

export function Tabs() {
  return (
    <nav class="tabs" aria-label={t('sections')}>
      {VIEWS.map((name) => (
        <button key={name} type="button" aria-current={view.value === name ? 'page' : undefined} onClick={() => goTo(name)}>
          {t(WORDS[name])}
          {name === 'alerts' && fresh.value > 0 && <span class="count">{number(fresh.value)}</span>}
        </button>
      ))}
    </nav>
  );
}
