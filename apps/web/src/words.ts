/** What the page says of its engine and of what it did. */

import type { Outcome } from "./client";
import type { EngineReport } from "./messages";

/** Return what runs the model; null: it is not loaded yet. */
export function engineText(report: EngineReport | null): string {
  if (!report) return "Loading";
  if (report.kind === "webgpu") return "WebGPU";
  return `WebAssembly, SIMD, ${count(report.threads, "thread")}`;
}

/** Return how long a result of so many pixels took. */
export function outcomeText({ milliseconds, tiles, faces }: Outcome, pixels: number): string {
  const parts: string[] = [];
  if (tiles > 1) {
    const each = faces ? "" : ` of ${(milliseconds / tiles).toFixed(0)} ms`;
    parts.push(`${count(tiles, "tile")}${each}`);
  } else if (tiles === 1) parts.push("1 tile");
  if (faces) parts.push(count(faces.restored, "face"));
  const megapixels = pixels / 1e6;
  const rate = (megapixels / (milliseconds / 1000)).toPrecision(2);
  parts.push(`${megapixels.toFixed(2)} megapixels`, `${rate} megapixels a second`);
  return `Restored in ${milliseconds.toFixed(0)} ms: ${parts.join(", ")}.`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
