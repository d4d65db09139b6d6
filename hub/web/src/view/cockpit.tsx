// The whole page.

import { announcement } from '../announcer';
import { t } from '../language';
import { view } from '../place';
import { AlertList } from './alertlist';
import { Header } from './header';
import { Indicators } from './indicators';
import { LinkPanel } from './linkpanel';
import { MapView } from './mapview';
import { Notice } from './notice';
import { OutageList } from './outagelist';
import { PlaceList } from './placelist';
import { SuspectList } from './suspectlist';
import { Tabs } from './tabs';

export function Cockpit() {
  return (
    <div class="cockpit" data-view={view.value}>
      <a class="skip" href="#alerts-title">
        {t('skipToAlerts')}
      </a>
      <a class="skip" href="#link">
        {t('skipToLink')}
      </a>
      <Header />
      <Notice />
      <main>
        <div class="left">
          <Indicators />
          <OutageList />
          <SuspectList />
          <AlertList />
          <PlaceList />
        </div>
        <MapView />
        <LinkPanel />
      </main>
      <Tabs />
      <div class="said" role="status" aria-live="polite">
        {announcement.value}
      </div>
    </div>
  );
}
