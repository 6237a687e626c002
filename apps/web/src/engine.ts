/** ONNX Runtime in the browser: WebGPU where there is one, otherwise WebAssembly. */

import type { Env, InferenceSession, Tensor } from "onnxruntime-web";
import gpuGlue from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import gpuBinary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import wasmGlue from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmBinary from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import { AppError, lineOf } from "./errors";
import type { Network } from "./faces/finder";
import { fetchOnce, keep } from "./kept";
import type { Manifest } from "./manifest";
import type { TensorData } from "./tensors";

export type EngineKind = "webgpu" | "wasm";

type Loading = (loaded: number, total: number) => void;

/** What runs a graph. */
export interface Engine {
  kind: EngineKind;
  /** Of WebAssembly; 1 without isolation from other sites. */
  threads: number;
  run(inputs: Record<string, TensorData>): Promise<TensorData>;
  close(): Promise<void>;
}

/** More threads gain nothing in small layers. */
const MOST_THREADS = 8;

type Runtime = {
  env: Env;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<InferenceSession> };
  Tensor: new (type: never, data: never, shape: readonly number[]) => Tensor;
};

const FILES = {
  webgpu: { glue: gpuGlue, binary: gpuBinary },
  wasm: { glue: wasmGlue, binary: wasmBinary },
};

/** Return the addresses of an engine's files. */
export function filesOf(kind: EngineKind): string[] {
  const { glue, binary } = FILES[kind];
  return [glue, binary].map((path) => new URL(path, self.location.href).href);
}

/** Return whether this browser has a GPU for the page. */
export async function hasGpu(): Promise<boolean> {
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<unknown> } };
  return gpu !== undefined && (await gpu.requestAdapter()) !== null;
}

/** Return how many threads WebAssembly may use here. */
export function mostThreads(): number {
  if (!self.crossOriginIsolated) return 1;
  return Math.max(1, Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1));
}

let runtime: { kind: EngineKind; threads: number; loaded: Runtime } | null = null;

/**
 * Load ONNX Runtime; once in each worker, as its WebAssembly is initialised once.
 *
 * @throws AppError another kind or number of threads was loaded before.
 */
async function loadRuntime(kind: EngineKind, threads: number, loading: Loading): Promise<Runtime> {
  if (runtime?.kind === kind && runtime.threads === threads) return runtime.loaded;
  if (runtime) throw new Error("one worker runs one engine");
  const loaded = (kind === "webgpu"
    ? await import("onnxruntime-web/webgpu")
    : await import("onnxruntime-web/wasm")) as unknown as Runtime;
  const [glue, binary] = filesOf(kind);
  await keep(glue);
  loaded.env.wasm.wasmPaths = { mjs: glue, wasm: binary };
  loaded.env.wasm.wasmBinary = await fetchOnce(binary, loading);
  loaded.env.wasm.numThreads = threads;
  runtime = { kind, threads, loaded };
  return loaded;
}

async function openSession(
  { InferenceSession }: Runtime,
  provider: EngineKind,
  name: string,
  model: ArrayBuffer,
): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(new Uint8Array(model), {
      executionProviders: [provider],
      graphOptimizationLevel: "all",
    });
  } catch (error) {
    throw new AppError(`the engine refuses ${name}`, {
      got: lineOf(error),
      fix: "choose another engine",
    });
  }
}

/**
 * Load a bundle's graph.
 *
 * @throws AppError the engine refuses it.
 */
export async function openEngine(
  kind: EngineKind,
  threads: number,
  manifest: Manifest,
  model: ArrayBuffer,
  loading: Loading,
): Promise<Engine> {
  const runtime = await loadRuntime(kind, threads, loading);
  const session = await openSession(runtime, kind, manifest.name, model);
  const specs = [manifest.image, ...(manifest.noise ? [manifest.noise] : [])];
  return {
    kind,
    threads,
    async run(inputs) {
      const feeds: Record<string, Tensor> = {};
      for (const { name, dtype, shape } of specs) {
        feeds[name] = new runtime.Tensor(dtype as never, inputs[name] as never, shape);
      }
      const outputs = await session.run(feeds, [manifest.output.name]);
      const output = outputs[manifest.output.name];
      const data = (await output.getData()) as TensorData;
      output.dispose();
      return data;
    },
    close: () => session.release(),
  };
}

/**
 * Load a network of one input that finds faces.
 *
 * It runs in WebAssembly on every engine: its input has another shape each time, for which a GPU
 * would compile its programs anew.
 *
 * @throws AppError the engine refuses it.
 */
export async function openNetwork(
  kind: EngineKind,
  threads: number,
  name: string,
  model: ArrayBuffer,
  loading: Loading,
): Promise<Network & { close(): Promise<void> }> {
  const runtime = await loadRuntime(kind, threads, loading);
  const session = await openSession(runtime, "wasm", name, model);
  return {
    async run(data, shape) {
      const input = new runtime.Tensor("float32" as never, data as never, shape);
      const outputs = await session.run({ [session.inputNames[0]]: input });
      const results = Object.entries(outputs).map(([key, { data, dims }]) => [
        key,
        { data: data as Float32Array, shape: dims },
      ]);
      return Object.fromEntries(results) as Awaited<ReturnType<Network["run"]>>;
    },
    close: () => session.release(),
  };
}
