// Finding a street or link by name or id.

import { useSignal } from '@preact/signals';
import { city, type City } from '../city';
import { t } from '../language';
import { LinkButton } from './slowesttable';

const SHOWN = 8;

function find(now: City, words: string): number[] {
  const wanted = words.trim().toLowerCase();
  const found: number[] = [];
  if (wanted === '') return found;
  const { link_ids, link_names_en, link_names_zh } = now.network;
  const exact = now.position.get(words.trim());
  if (exact !== undefined) found.push(exact);
  for (let link = 0; link < link_ids.length && found.length < SHOWN; link++) {
    const text = `${link_ids[link]}\n${link_names_en[link]}\n${link_names_zh[link]}`.toLowerCase();
    if (link !== exact && text.includes(wanted)) found.push(link);
  }
  return found;
}

export function LinkFinder() {
  const words = useSignal('');
  const now = city.value;
  const found = now ? find(now, words.value) : [];
  return (
    <div class="finder" role="search">
      <label for="finder">{t('findLink')}</label>
      <input
        id="finder"
        type="search"
        autocomplete="off"
        value={words.value}
        onInput={(event) => (words.value = event.currentTarget.value)}
      />
      {words.value.trim() !== '' && (
        <ul aria-live="polite">
          {found.map((link) => (
            <li key={link}>
              <LinkButton link={link} />
            </li>
          ))}
          {found.length === 0 && <li class="empty">{t('findNothing')}</li>}
        </ul>
      )}
    </div>
  );
}
