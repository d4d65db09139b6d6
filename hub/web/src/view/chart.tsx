// Speed of the last 90 minutes with its band, which holds the true speed nine times in ten.

import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { LinkHistory } from '../contract';
import { number, t, timezone } from '../language';

const HEIGHT = 150;
const INK = '#1C2226';
const QUIET = '#4D5960';
type Row = (number | null)[];

/** Rows for the plot: time, upper and lower rim, measured speed, other speed. */
export function plotRows(history: LinkHistory): [number[], Row, Row, Row, Row] {
  const { speed_kmh: speed, speed_low_kmh: low, speed_high_kmh: high, source } = history;
  const measured = (k: number): boolean => source[k] === 'measured';
  // The dashed line also takes the measured points beside its own, so that the two lines meet.
  const dashed = (k: number): boolean => !measured(k) || (k > 0 && !measured(k - 1)) || (k + 1 < speed.length && !measured(k + 1));
  return [
    history.time.map((time) => Date.parse(time) / 1000),
    high,
    low,
    speed.map((v, k) => (measured(k) ? v : null)),
    speed.map((v, k) => (dashed(k) ? v : null)),
  ];
}

export function SpeedChart({ history, freeSpeed }: { history: LinkHistory; freeSpeed: number }) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const rows = plotRows(history);

  useEffect(() => {
    const element = frame.current;
    if (!element) return undefined;
    const made = new uPlot(options(element.clientWidth, freeSpeed), rows, element);
    plot.current = made;
    const watcher = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [freeSpeed, timezone.value]);

  useEffect(() => plot.current?.setData(rows), [history]);

  return (
    <>
      <div class="plot" ref={frame} role="img" aria-label={inWords(history)} />
      <p class="quiet">{t('historyKey')}</p>
    </>
  );
}

function inWords(history: LinkHistory): string {
  const known = history.speed_kmh.filter((v): v is number => v !== null);
  if (known.length === 0) return t('historyEmpty');
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return t('historyText', { low: number(low), high: number(high), now: number(known[known.length - 1]) });
}

function options(width: number, freeSpeed: number): uPlot.Options {
  const font = '13px system-ui, "Noto Sans CJK SC", sans-serif';
  const grid = { stroke: '#E2E7E9', width: 1 };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), timezone.value),
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(10, 1.1 * Math.max(freeSpeed, high ?? 0))] } },
    axes: [
      { font, stroke: QUIET, grid: { show: false }, ticks: grid, values: '{HH}:{mm}', space: 70, size: 28 },
      { font, stroke: QUIET, grid, ticks: { show: false }, size: 38, space: 28 },
    ],
    series: [
      {},
      { stroke: 'transparent', points: { show: false } },
      { stroke: 'transparent', points: { show: false } },
      { stroke: INK, width: 2, points: { show: false } },
      { stroke: INK, width: 2, dash: [5, 4], points: { show: false } },
    ],
    bands: [{ series: [1, 2], fill: '#B7C2C899' }],
  };
}
