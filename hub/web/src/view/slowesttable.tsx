// The slowest links as a table of buttons: the map for those who use no map.

import { city, frames, nameOfLink, slowest } from '../city';
import { RATIO_SCALE } from '../frame';
import { number, t } from '../language';
import { showLink } from '../locate';
import { goTo } from '../place';
import { NO_DATA_COLOUR, stepOf, STEPS } from '../speed';
import { stretchOf, streetOf } from '../streetname';

export function SlowestTable() {
  const now = city.value;
  if (!now || frames.value === 0) return <p class="empty">{t('noSlowest')}</p>;
  if (slowest.value.length === 0) return <p class="empty">{t('noneSlow')}</p>;
  return (
    <table class="rows">
      <caption>{t('slowestLinks')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('link')}</th>
          <th scope="col">{t('ratio')}</th>
        </tr>
      </thead>
      <tbody>
        {slowest.value.map(({ link, ratio }) => (
          <tr key={link}>
            <td>
              <LinkButton link={link} />
            </td>
            <td>
              <i class="swatch" style={{ background: STEPS[stepOf(ratio)]?.colour ?? NO_DATA_COLOUR }} /> {number((ratio / RATIO_SCALE) * 100)} %
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function LinkButton({ link }: { link: number }) {
  const now = city.value;
  if (!now) return null;
  const id = now.network.link_ids[link];
  const name = nameOfLink(now, link);
  return (
    <button
      type="button"
      class="linkbutton"
      onClick={() => {
        showLink(link);
        goTo('link');
      }}
    >
      {streetOf(name)} <span class="quiet">{stretchOf(name) || (name !== id && id)}</span>
    </button>
  );
}
