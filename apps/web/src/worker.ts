/** Runs bundles away from the page, which stays responsive. */

import { type Bundle, readFile, readNetworks } from "./bundles";
import { type EngineKind, hasGpu, mostThreads, openNetwork } from "./engine";
import { AppError, lineOf } from "./errors";
import { FaceFinder, type Network } from "./faces/finder";
import { type Background, type FacesFound, restoreFaces } from "./faces/restore";
import { restoreWhole } from "./fitting";
import type { EngineChoice, FaceFiles, FromWorker, Phase, ToWorker } from "./messages";
import type { FloatImage } from "./pixels";
import { type Job, restoreImage, type Rgba } from "./restore";
import { RunningBundle } from "./running";

interface Opened {
  bundle: RunningBundle;
  faces: {
    finder: FaceFinder;
    bundle: RunningBundle;
    networks: { close(): Promise<void> }[];
  } | null;
}

class Cancelled extends Error {}

let opened: Opened | null = null;
let cancelled = false;

function say(message: FromWorker, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

/** Let messages in, as a run of a graph blocks the worker; stop where one of them cancels. */
async function breathe(): Promise<void> {
  await new Promise<void>((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
  if (cancelled) throw new Cancelled();
}

async function runGraph(
  bundle: RunningBundle,
  image: FloatImage,
  key: number,
): Promise<FloatImage> {
  await breathe();
  return bundle.run(image, key);
}

async function close({ bundle, faces }: Opened): Promise<void> {
  const parts = [bundle, ...(faces?.networks ?? [])];
  if (faces && faces.bundle !== bundle) parts.push(faces.bundle);
  for (const part of parts) await part.close();
}

async function open(
  id: number,
  bundle: Bundle,
  faces: FaceFiles | null,
  choice: EngineChoice,
  threads: number | null,
): Promise<void> {
  if (opened) await close(opened);
  opened = null;
  const loading = (loaded: number, total: number): void =>
    say({ type: "loading", id, loaded, total });
  const kind: EngineKind = choice === "auto" ? ((await hasGpu()) ? "webgpu" : "wasm") : choice;
  if (kind === "webgpu" && !(await hasGpu())) {
    throw new AppError("this browser gives the page no GPU", { fix: "choose another engine" });
  }
  const model = await readFile(bundle, bundle.manifest.artifact, loading);
  const most = mostThreads();
  const used = kind === "webgpu" ? 1 : Math.min(most, threads ?? most);
  const start = async (each: Bundle, content: ArrayBuffer): Promise<RunningBundle> =>
    RunningBundle.open(each, content, kind, used, loading);
  try {
    const running = await start(bundle, model);
    opened = { bundle: running, faces: null };
    if (faces) {
      const same = faces.bundle.folder === bundle.folder;
      opened.faces = {
        bundle: same
          ? running
          : await start(faces.bundle, await readFile(faces.bundle, faces.bundle.manifest.artifact)),
        ...(await openFinder(faces, kind, used, loading)),
      };
    }
  } catch (error) {
    say({ type: "failed", id, line: lineOf(error), engineFailed: kind });
    return;
  }
  const note =
    kind === "wasm" && !self.crossOriginIsolated
      ? "one thread: the server does not isolate the page (COOP and COEP)"
      : "";
  say({ type: "opened", id, report: { kind, threads: used, note } });
}

async function openFinder(
  faces: FaceFiles,
  kind: EngineKind,
  threads: number,
  loading: (loaded: number, total: number) => void,
) {
  const contents = await readNetworks(faces.networks, loading);
  const networks = [];
  for (const [i, content] of contents.entries()) {
    networks.push(await openNetwork(kind, threads, faces.networks.files[i].path, content, loading));
  }
  const [first, second, third] = networks.map((network): Network => ({
    run: async (data, shape) => {
      await breathe();
      return network.run(data, shape);
    },
  }));
  return { networks, finder: new FaceFinder(first, second, third) };
}

async function restore(id: number, job: Job): Promise<void> {
  if (!opened) throw new AppError("no bundle is loaded", { fix: "choose a task" });
  const { bundle, faces } = opened;
  cancelled = false;
  let tiles = 0;
  const start = performance.now();
  const emit = (left: number, top: number, part: Rgba): void =>
    say({ type: "part", id, left, top, part }, [part.data.buffer]);
  const progress = (phase: Phase, done: number, total: number): void =>
    say({ type: "progress", id, phase, done, total });
  const restorePhoto = async (band: (top: number, band: Rgba) => void): Promise<void> =>
    restoreImage(
      bundle.manifest,
      job,
      (image, key) => runGraph(bundle, image, key),
      band,
      (done, total) => {
        tiles = total;
        progress("tiles", done, total);
      },
    );
  let found: FacesFound | null = null;
  if (faces) {
    const { finder, bundle: model } = faces;
    const background: Background | null =
      model === bundle
        ? null
        : { scale: bundle.manifest.processing.upscale, restore: restorePhoto };
    const models = {
      find: (picture: Parameters<FaceFinder["find"]>[0]) =>
        finder.find(picture, (done, total) => progress("search", done, total)),
      restore: (aligned: FloatImage) =>
        restoreWhole(model.manifest, aligned, (image, key) => runGraph(model, image, key)),
    };
    found = await restoreFaces(job.image, models, background, emit, (done, total) =>
      progress("faces", done, total),
    );
  } else {
    await restorePhoto((top, band) => emit(0, top, band));
  }
  say({ type: "restored", id, milliseconds: performance.now() - start, tiles, faces: found });
}

async function answer(message: ToWorker): Promise<void> {
  if (message.type === "cancel") {
    cancelled = true;
    return;
  }
  const { id } = message;
  try {
    if (message.type === "open") {
      await open(id, message.bundle, message.faces, message.choice, message.threads);
    } else {
      await restore(id, message.job);
    }
  } catch (error) {
    if (error instanceof Cancelled) say({ type: "cancelled", id });
    else say({ type: "failed", id, line: lineOf(error), engineFailed: null });
  }
}

// Work is done one after the other; a cancellation does not wait.
let queue: Promise<void> = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === "cancel") void answer(data);
  else queue = queue.then(() => answer(data));
};
