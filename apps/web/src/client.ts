/** The page's side of the worker. */

import type { Bundle } from "./bundles";
import { AppError } from "./errors";
import type { FacesFound } from "./faces/restore";
import type {
  EngineChoice,
  EngineReport,
  FaceFiles,
  FromWorker,
  Phase,
  ToWorker,
} from "./messages";
import type { Job, Rgba } from "./restore";

export interface Listeners {
  loading: (loaded: number, total: number) => void;
  /** A finished part of the result, which may replace what came before. */
  part: (left: number, top: number, part: Rgba) => void;
  progress: (phase: Phase, done: number, total: number) => void;
}

export interface Outcome {
  milliseconds: number;
  tiles: number;
  /** null: none were looked for. */
  faces: FacesFound | null;
}

interface Waiting {
  id: number;
  resolve: (message: FromWorker) => void;
}

/** Runs bundles in a worker, one call at a time. */
export class Client {
  private worker: Worker | null = null;
  private waiting: Waiting | null = null;
  private lastId = 0;
  /** Engine and threads of the worker, which runs one kind only. */
  private loaded = "";
  private gpuNote = "";

  constructor(private readonly listeners: Listeners) {}

  /**
   * Load a bundle. Where `auto` found a GPU that fails, WebAssembly takes its place.
   *
   * @returns null: another bundle was asked for meanwhile.
   * @throws AppError it cannot be loaded.
   */
  async open(
    bundle: Bundle,
    faces: FaceFiles | null,
    choice: EngineChoice,
    threads: number | null,
  ): Promise<EngineReport | null> {
    const wanted = choice === "auto" && this.gpuNote ? "wasm" : choice;
    if (this.loaded !== `${wanted} ${threads}`) this.restart();
    this.loaded = `${wanted} ${threads}`;
    const message = await this.ask((id) => {
      return { type: "open", id, bundle, faces, choice: wanted, threads };
    });
    if (message.type === "opened") {
      return { ...message.report, note: message.report.note || this.gpuNote };
    }
    if (message.type !== "failed") return null;
    this.loaded = ""; // what is left of the engine is of no use
    if (wanted === "auto" && message.engineFailed === "webgpu") {
      this.gpuNote = `not WebGPU: ${message.line}`;
      return this.open(bundle, faces, choice, threads);
    }
    throw new AppError(message.line);
  }

  /**
   * Restore a photo by the bundle loaded last; null: it was cancelled.
   *
   * @throws AppError it cannot be restored.
   */
  async restore(job: Job): Promise<Outcome | null> {
    const message = await this.ask((id) => ({ type: "restore", id, job }));
    if (message.type === "restored") return message;
    if (message.type === "cancelled") return null;
    throw new AppError(message.type === "failed" ? message.line : "restoring was interrupted");
  }

  /** Stop restoring after the tile that is being run. */
  cancel(): void {
    this.post({ type: "cancel" });
  }

  private restart(): void {
    this.worker?.terminate();
    this.worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.hear(data);
    this.worker.onerror = (event) => {
      // Memory that the browser refuses ends up here, too.
      event.preventDefault();
      this.loaded = "";
      const line = event.message || "the worker could not be started";
      this.hear({ type: "failed", id: this.lastId, line, engineFailed: null });
    };
  }

  private post(message: ToWorker): void {
    this.worker?.postMessage(message);
  }

  private ask(message: (id: number) => ToWorker): Promise<FromWorker> {
    this.waiting?.resolve({ type: "cancelled", id: this.waiting.id });
    const id = ++this.lastId;
    return new Promise((resolve) => {
      this.waiting = { id, resolve };
      this.post(message(id));
    });
  }

  private hear(message: FromWorker): void {
    if (message.id !== this.lastId) return; // of something that is over
    if (message.type === "loading") this.listeners.loading(message.loaded, message.total);
    else if (message.type === "part") {
      this.listeners.part(message.left, message.top, message.part);
    } else if (message.type === "progress") {
      this.listeners.progress(message.phase, message.done, message.total);
    } else this.waiting?.resolve(message);
  }
}
