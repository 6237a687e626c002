/** What the page and its worker say to each other. */

import type { Bundle, Networks } from "./bundles";
import type { EngineKind } from "./engine";
import type { FacesFound } from "./faces/restore";
import type { Job, Rgba } from "./restore";

/** Which engine is asked for; `auto`: WebGPU where there is one. */
export type EngineChoice = "auto" | EngineKind;

export interface EngineReport {
  kind: EngineKind;
  threads: number;
  /** Why it is not the one that would be preferred; empty: it is. */
  note: string;
}

/** What finds faces, and the bundle that restores them. */
export interface FaceFiles {
  networks: Networks;
  bundle: Bundle;
}

/** What is being done: faces are looked for, tiles restored, faces restored. */
export type Phase = "search" | "tiles" | "faces";

export type ToWorker =
  | {
      type: "open";
      id: number;
      bundle: Bundle;
      /** null: faces are not looked for. */
      faces: FaceFiles | null;
      choice: EngineChoice;
      threads: number | null;
    }
  | { type: "restore"; id: number; job: Job }
  | { type: "cancel" };

export type FromWorker =
  | { type: "loading"; id: number; loaded: number; total: number }
  | { type: "opened"; id: number; report: EngineReport }
  | { type: "part"; id: number; left: number; top: number; part: Rgba }
  | { type: "progress"; id: number; phase: Phase; done: number; total: number }
  | {
      type: "restored";
      id: number;
      milliseconds: number;
      tiles: number;
      /** null: none were looked for. */
      faces: FacesFound | null;
    }
  | { type: "cancelled"; id: number }
  | { type: "failed"; id: number; line: string; engineFailed: EngineKind | null };
