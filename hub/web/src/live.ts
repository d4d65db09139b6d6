// The live connection: frames and messages in, loss noticed within 3 s, and mended without a reload.

import { signal } from '@preact/signals';
import type { LiveMessage } from './contract';
import { decodeFrame, type LinkFrame } from './frame';

/** The hub says something every second, a hello when nothing else; after this much silence the connection counts as lost. */
const SILENCE_MS = 2_500;
/** A silent socket gets a little longer before it is given up, because it may be the page that was slow. */
const GIVE_UP_MS = 6_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 4_000;

export type Connection = 'connecting' | 'live' | 'lost';

export interface Listener {
  onFrame(frame: LinkFrame): void;
  onMessage(message: LiveMessage): void;
  /** After every (re)connection: lists may have changed meanwhile. */
  onOpen(): void;
}

export const connection = signal<Connection>('connecting');
/** `performance.now()` of the next attempt, or null while one is under way. */
export const nextAttempt = signal<number | null>(null);

export class LiveConnection {
  private socket: WebSocket | null = null;
  private heard = performance.now();
  private retryMs = FIRST_RETRY_MS;
  private timer = 0;

  constructor(
    private readonly address: () => URL,
    private readonly listener: Listener,
  ) {}

  start(): void {
    this.open();
    window.setInterval(() => this.watch(), 250);
    window.addEventListener('online', () => this.retryNow());
    document.addEventListener('visibilitychange', () => this.retryNow()); // timers sleep in hidden pages
  }

  retryNow(): void {
    if (this.socket !== null) return;
    window.clearTimeout(this.timer);
    this.open();
  }

  private open(): void {
    nextAttempt.value = null;
    this.heard = performance.now();
    const socket = new WebSocket(this.address());
    this.socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.listener.onOpen();
    socket.onmessage = (event: MessageEvent<ArrayBuffer | string>) => this.receive(socket, event.data);
    socket.onclose = () => this.lose(socket);
  }

  private receive(socket: WebSocket, data: ArrayBuffer | string): void {
    if (socket !== this.socket) return;
    this.heard = performance.now();
    this.retryMs = FIRST_RETRY_MS;
    connection.value = 'live';
    if (typeof data === 'string') this.listener.onMessage(JSON.parse(data) as LiveMessage);
    else this.listener.onFrame(decodeFrame(data));
  }

  private watch(): void {
    if (this.socket === null) return;
    const silence = performance.now() - this.heard;
    if (silence > SILENCE_MS) connection.value = 'lost';
    if (silence > GIVE_UP_MS) {
      const socket = this.socket;
      this.lose(socket); // not waiting for a close handshake that a dead network never finishes
      socket.close();
    }
  }

  private lose(socket: WebSocket): void {
    if (socket !== this.socket) return;
    this.socket = null;
    connection.value = 'lost';
    const wait = this.retryMs * (0.75 + 0.5 * Math.random()); // spread, so that a restarted hub is not stormed
    this.retryMs = Math.min(LAST_RETRY_MS, 2 * this.retryMs);
    nextAttempt.value = performance.now() + wait;
    this.timer = window.setTimeout(() => this.open(), wait);
  }
}
