/** The bar and its words: what is loaded, tiles done, time left. */

import { find } from "./dom";
import type { Phase } from "./messages";

const MEGABYTE = 1e6;

export class Progress {
  private readonly box = find("progress-box");
  private readonly bar = find<HTMLProgressElement>("progress");
  private readonly text = find("progress-text");
  private start = 0;
  private phase: Phase = "tiles";
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

  /** Say how much of a phase is done. */
  steps(phase: Phase, done: number, total: number): void {
    if (phase !== this.phase) [this.phase, this.start] = [phase, performance.now()];
    this.bar.value = done / total;
    if (!this.stopping) this.set(done / total, stepsText(phase, done, total, this.start));
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

function stepsText(phase: Phase, done: number, total: number, start: number): string {
  if (phase === "search") return "Looking for faces";
  const text = `${done} of ${total} ${phase}`;
  if (done === 0) return text;
  const left = ((performance.now() - start) / done) * (total - done);
  return `${text}, ${duration(left)} left`;
}

/** Return a time in milliseconds in seconds or minutes. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}
