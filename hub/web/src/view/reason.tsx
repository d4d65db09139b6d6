// Why something is as it is; a sentence that the hub has in one language only is marked as being in that one.

import type { Bilingual } from '../contract';
import { language, pick } from '../language';

export function Reason({ text }: { text: Bilingual }) {
  const words = pick(text);
  if (!words) return null;
  const foreign = words !== text[language.value];
  return (
    <div class="reason" lang={foreign ? (language.value === 'zh' ? 'en' : 'zh-CN') : undefined}>
      {words}
    </div>
  );
}
