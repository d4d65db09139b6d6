// What is measured beside traffic, by theme, what deviates first; folded until somebody wants the list.

import { city } from '../city';
import { THEMES, type Place, type Theme } from '../contract';
import { number, t } from '../language';
import { showMark } from '../locate';
import { headline, isOld, keyOfPlace, nameOf, placesOf, spotOf } from '../marks';
import { places } from '../places';
import { ageText } from './markcard';
import { MarkPicture } from './markpicture';

export function PlaceList() {
  if (places.value.length === 0) return null;
  const deviating = places.value.filter((place) => place.level > 0 && !isOld(place)).length;
  return (
    <details class="outage places">
      <summary>
        <span>
          <b>{t('places')}</b> {t('ofThemHigh', { all: number(places.value.length), high: number(deviating) })}
        </span>
      </summary>
      {THEMES.map((theme) => (
        <OneTheme key={theme} theme={theme} />
      ))}
    </details>
  );
}

const SHOWN = 100;

function OneTheme({ theme }: { theme: Theme }) {
  const own = placesOf(theme);
  if (own.length === 0) return null;
  return (
    <>
      <h3>{t(`layer_${theme}`)}</h3>
      <ul>
        {own.slice(0, SHOWN).map((place) => (
          <li key={keyOfPlace(place)}>
            <OnePlace place={place} />
          </li>
        ))}
      </ul>
      {own.length > SHOWN && <p class="quiet">{t('moreAssets', { n: number(own.length - SHOWN) })}</p>}
    </>
  );
}

function OnePlace({ place }: { place: Place }) {
  const now = city.value;
  const spot = now && spotOf(now, place);
  const old = isOld(place);
  const words = (
    <>
      <MarkPicture icon={`${place.theme}-${old ? 'old' : place.level}`} />
      <span class="placename">{nameOf(place)}</span>
      <b>{headline(place)}</b>
      <span class={old ? 'fault' : 'quiet'}>{ageText(place)}</span>
    </>
  );
  if (!spot) return <div class="placerow">{words}</div>;
  return (
    <button type="button" class="placerow" title={t('locate')} onClick={() => showMark(keyOfPlace(place), place.theme, spot)}>
      {words}
    </button>
  );
}
