/** Runs bundles away from the page, which stays responsive. */

import { type Bundle, readFile } from "./bundles";
import { type Engine, type EngineKind, hasGpu, mostThreads, openEngine } from "./engine";
import { AppError, lineOf } from "./errors";
import type { EngineChoice, FromWorker, ToWorker } from "./messages";
import type { Manifest } from "./manifest";
import { psnr } from "./metrics";
import { drawNormal } from "./noise";
import { type FloatImage, floatAsBytes, regionAsFloat } from "./pixels";
import { type Job, restoreImage } from "./restore";
import { fromTensor, type TensorData, toTensor } from "./tensors";

const SEED = 0;

interface Opened {
  manifest: Manifest;
  engine: Engine;
}

class Cancelled extends Error {}

let opened: Opened | null = null;
let cancelled = false;

function say(message: FromWorker, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

/** Let messages in: a run of the graph blocks the worker. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

async function runGraph({ manifest, engine }: Opened, image: FloatImage, key: number) {
  const inputs: Record<string, TensorData> = {
    [manifest.image.name]: toTensor(image, manifest.image),
  };
  if (manifest.noise) {
    const count = manifest.noise.shape.reduce((product, n) => product * n, 1);
    const draw = drawNormal(count, SEED, key);
    inputs[manifest.noise.name] = draw.map((value) => value * manifest.sigmaS);
  }
  return fromTensor(await engine.run(inputs), manifest.output);
}

async function open(
  id: number,
  bundle: Bundle,
  choice: EngineChoice,
  threads: number | null,
): Promise<void> {
  await opened?.engine.close();
  opened = null;
  const loading = (loaded: number, total: number): void =>
    say({ type: "loading", id, loaded, total });
  const { manifest } = bundle;
  const kind: EngineKind = choice === "auto" ? ((await hasGpu()) ? "webgpu" : "wasm") : choice;
  if (kind === "webgpu" && !(await hasGpu())) {
    throw new AppError("this browser gives the page no GPU", { fix: "choose another engine" });
  }
  const model = await readFile(bundle, manifest.artifact, loading);
  const most = mostThreads();
  const used = kind === "webgpu" ? 1 : Math.min(most, threads ?? most);
  try {
    const engine = await openEngine(kind, used, manifest, model, loading);
    // Drivers differ: what a GPU computes is compared with what the export recorded.
    if (kind === "webgpu") await selfTest({ manifest, engine }, bundle);
    opened = { manifest, engine };
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

/** @throws AppError the graph's output here is not the recorded one. */
async function selfTest(candidate: Opened, bundle: Bundle): Promise<void> {
  const { manifest } = candidate;
  const [input, expected] = await Promise.all(
    [manifest.selfTest.input, manifest.selfTest.expected].map(async (file) =>
      decode(await readFile(bundle, file)),
    ),
  );
  const side = manifest.size;
  if ([input, expected].some((image) => image.width !== side || image.height !== side)) {
    throw new AppError(`the golden images of ${manifest.name} do not fit its graph`);
  }
  const restored = await runGraph(candidate, regionAsFloat(input, 0, 0, side, side), 0);
  const nearness = psnr(floatAsBytes(restored, 3).data, expected.data);
  if (!(nearness >= manifest.selfTest.minPsnr)) {
    throw new AppError("the GPU gives another image than the export recorded", {
      got: `${nearness.toFixed(1)} dB`,
      expected: `at least ${manifest.selfTest.minPsnr} dB`,
    });
  }
}

async function decode(content: ArrayBuffer) {
  const bitmap = await createImageBitmap(new Blob([content], { type: "image/png" }), {
    colorSpaceConversion: "none",
  });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (!context) throw new AppError("this browser gives the page no canvas");
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = rgba[4 * Math.floor(i / 3) + (i % 3)];
  return { width, height, channels: 3 as const, data };
}

async function restore(id: number, job: Job): Promise<void> {
  if (!opened) throw new AppError("no bundle is loaded", { fix: "choose a task" });
  const current = opened;
  cancelled = false;
  let tiles = 0;
  const start = performance.now();
  const run = async (image: FloatImage, key: number): Promise<FloatImage> => {
    await breathe();
    if (cancelled) throw new Cancelled();
    return runGraph(current, image, key);
  };
  await restoreImage(
    current.manifest,
    job,
    run,
    (top, band) => say({ type: "band", id, top, band }, [band.data.buffer]),
    (done, total) => {
      tiles = total;
      say({ type: "progress", id, done, total });
    },
  );
  say({ type: "restored", id, milliseconds: performance.now() - start, tiles });
}

async function answer(message: ToWorker): Promise<void> {
  if (message.type === "cancel") {
    cancelled = true;
    return;
  }
  const { id } = message;
  try {
    if (message.type === "open") {
      await open(id, message.bundle, message.choice, message.threads);
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
