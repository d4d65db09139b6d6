// Whether the screen has room for list, map and panel side by side; the same bound as in `cockpit.css`.

import { signal } from '@preact/signals';

const query = window.matchMedia('(min-width: 900px)');

export const wide = signal(query.matches);
query.addEventListener('change', () => (wide.value = query.matches));
