/** What the page and its worker say to each other. */

import type { Bundle } from "./bundles";
import type { EngineKind } from "./engine";
import type { Job, Rgba } from "./restore";

/** Which engine is asked for; `auto`: WebGPU where there is one. */
export type EngineChoice = "auto" | EngineKind;

export interface EngineReport {
  kind: EngineKind;
  threads: number;
  /** Why it is not the one that would be preferred; empty: it is. */
  note: string;
}

export type ToWorker =
  | { type: "open"; id: number; bundle: Bundle; choice: EngineChoice; threads: number | null }
  | { type: "restore"; id: number; job: Job }
  | { type: "cancel" };

export type FromWorker =
  | { type: "loading"; id: number; loaded: number; total: number }
  | { type: "opened"; id: number; report: EngineReport }
  | { type: "band"; id: number; top: number; band: Rgba }
  | { type: "progress"; id: number; done: number; total: number }
  | { type: "restored"; id: number; milliseconds: number; tiles: number }
  | { type: "cancelled"; id: number }
  | { type: "failed"; id: number; line: string; engineFailed: EngineKind | null };
