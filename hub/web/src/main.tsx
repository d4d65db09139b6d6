// Start of the cockpit.

import { effect } from '@preact/signals';
import { render } from 'preact';
import { cityName, startCity } from './city';
import { t } from './language';
import { followLink } from './linkdetail';
import { followOutage } from './outage';
import { followPlaces } from './places';
import { bindAddress } from './place';
import { startPulse } from './pulse';
import './cockpit.css';
import { leadArrowsIntoList } from './view/alertlist';
import { Cockpit } from './view/cockpit';
import { followRuns } from './whatif';
import { openHandle } from './window';

bindAddress();
startPulse();
openHandle();
followLink();
followOutage();
followPlaces();
followRuns();
leadArrowsIntoList();
effect(() => {
  document.title = cityName.value ? t('pageTitle', { city: cityName.value }) : t('product');
});

const root = document.getElementById('cockpit');
if (root) render(<Cockpit />, root);
void startCity();
