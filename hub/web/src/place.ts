// Where the user is, kept in the address, so that a link, a view and a run can be bookmarked and shared.

import { effect, signal } from '@preact/signals';
import { language, speak } from './language';

/** The section shown on a small screen; a large one shows all three. */
export const VIEWS = ['alerts', 'map', 'link'] as const;
export type View = (typeof VIEWS)[number];

const query = (): URLSearchParams => new URLSearchParams(location.search);

function viewOf(parameters: URLSearchParams): View {
  return VIEWS.find((view) => view === parameters.get('view')) ?? 'alerts';
}

function layersOf(parameters: URLSearchParams): ReadonlySet<string> {
  return new Set((parameters.get('hide') ?? '').split(',').filter(Boolean));
}

export const view = signal<View>(viewOf(query()));
export const linkId = signal<string | null>(query().get('link'));
/** Layers of marks that the map does not show; all others it does. */
export const hiddenLayers = signal<ReadonlySet<string>>(layersOf(query()));
/** The what-if run whose difference is shown. */
export const runId = signal<string | null>(query().get('run'));

export function goTo(next: View): void {
  view.value = next;
}

export function chooseLink(next: string | null): void {
  linkId.value = next;
}

/** Keep address and signals in step, both ways. */
export function bindAddress(): void {
  let chosen = linkId.value;
  effect(() => {
    const parameters = query();
    const put = (key: string, value: string | null): void => {
      if (value === null) parameters.delete(key);
      else parameters.set(key, value);
    };
    put('link', linkId.value);
    put('run', runId.value);
    put('hide', [...hiddenLayers.value].sort().join(',') || null);
    put('view', view.value === 'alerts' ? null : view.value);
    put('lang', language.value);
    const search = `?${parameters}`;
    if (search === location.search) return;
    // Only another link is a step worth going back over.
    if (linkId.value !== chosen) history.pushState(null, '', search + location.hash);
    else history.replaceState(null, '', search + location.hash);
    chosen = linkId.value;
  });
  window.addEventListener('popstate', () => {
    const parameters = query();
    chosen = parameters.get('link');
    linkId.value = chosen;
    runId.value = parameters.get('run');
    hiddenLayers.value = layersOf(parameters);
    view.value = viewOf(parameters);
    const asked = parameters.get('lang');
    if (asked === 'en' || asked === 'zh') speak(asked);
  });
}
