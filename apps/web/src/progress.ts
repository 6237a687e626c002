/** The bar and its words: what is loaded, tiles done, time left. */

import { find } from "./dom";

const MEGABYTE = 1e6;

export class Progress {
  private readonly box = find("progress-box");
  private readonly bar = find<HTMLProgressElement>("progress");
  private readonly text = find("progress-text");
  private start = 0;
  private stopping = false;

  hide(): void {
    this.box.hidden = true;
  }

  loading(loaded: number, total: number): void {
    const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(1);
    this.set(loaded / total, `Loading ${megabytes(loaded)} of ${megabytes(total)} MB`);
  }

  begin(): void {
    this.start = performance.now();
    this.stopping = false;
    this.set(0, "Starting");
  }

  tiles(done: number, total: number): void {
    this.bar.value = done / total;
    if (this.stopping) return;
    const left = ((performance.now() - this.start) / done) * (total - done);
    this.set(done / total, `${done} of ${total} tiles, ${duration(left)} left`);
  }

  /** Say that the work ends early. */
  say(words: string): void {
    this.stopping = true;
    this.text.textContent = words;
  }

  private set(share: number, words: string): void {
    this.box.hidden = false;
    this.bar.value = share;
    this.text.textContent = words;
  }
}

/** Return a time in milliseconds in seconds or minutes. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}
