// One polite sentence at a time for screen readers.

import { signal } from '@preact/signals';

export const announcement = signal('');

export function announce(sentence: string): void {
  announcement.value = sentence;
}
