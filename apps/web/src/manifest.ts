/** The parts of a bundle's manifest that running it needs (`elir_edge/runtime/manifest.py`). */

import { AppError } from "./errors";

const SCHEMA_VERSION = 2;
const RUNTIME = "onnxruntime";
const MAX_ELEMENTS = 2 ** 28;
const MAX_UPSCALE = 64;
const DTYPES = ["float32", "uint8", "int8"] as const;

/** An input or output of the graph. */
export interface TensorSpec {
  name: string;
  role: "image" | "noise";
  /** All fixed, in the order of `layout`. */
  shape: number[];
  dtype: (typeof DTYPES)[number];
  /** Order of the axes, a permutation of `NCHW`. */
  layout: string;
  /** Value of black. */
  low: number;
  /** Value of white. */
  high: number;
}

/** How an image of any size meets the fixed graph. */
export interface Processing {
  /** Overlapping tiles, or one resize of the whole picture (aligned faces). */
  fit: "tile" | "resize";
  /** Pixels that neighbouring tiles share, at the graph's resolution. */
  overlap: number;
  /** The image is enlarged by this before the network. */
  upscale: number;
  upscaleFilter: "nearest" | "bicubic";
}

/** What the model learned to restore; null: nothing of the kind. */
export interface TrainedRange {
  noiseSigma: [number, number] | null;
  jpegQuality: [number, number] | null;
  missing: [number, number] | null;
}

/** A file of the bundle, with its hash. */
export interface FileEntry {
  path: string;
  bytes: number;
  sha256: string;
}

/** A bundle as this page runs it. */
export interface Manifest {
  name: string;
  task: string;
  model: string;
  precision: string;
  sigmaS: number;
  /** Side of the graph's square input, in pixels. */
  size: number;
  image: TensorSpec;
  noise: TensorSpec | null;
  output: TensorSpec;
  processing: Processing;
  trained: TrainedRange | null;
  /** The ONNX file. */
  artifact: FileEntry;
  /** An image, what the graph must make of it, and how near (PSNR in dB). */
  selfTest: { input: FileEntry; expected: FileEntry; minPsnr: number };
}

type Json = Record<string, unknown>;

function malformed(where: string, got: unknown): AppError {
  return new AppError(`manifest.json is malformed at ${where}`, {
    got: JSON.stringify(got) ?? "nothing",
    fix: "export the bundle again",
  });
}

function object(value: unknown, where: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw malformed(where, value);
  }
  return value as Json;
}

function list(value: unknown, where: string): unknown[] {
  if (!Array.isArray(value)) throw malformed(where, value);
  return value;
}

function text(value: unknown, where: string): string {
  if (typeof value !== "string") throw malformed(where, value);
  return value;
}

function number(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw malformed(where, value);
  return value;
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], where: string): T {
  if (!allowed.includes(value as T)) throw malformed(where, value);
  return value as T;
}

function range(value: unknown, where: string): [number, number] | null {
  if (value === null || value === undefined) return null;
  const pair = list(value, where);
  if (pair.length !== 2) throw malformed(where, value);
  return [number(pair[0], where), number(pair[1], where)];
}

/**
 * Parse and check a manifest.
 *
 * @throws AppError not JSON, another schema version, or not for ONNX Runtime.
 */
export function parseManifest(json: string): Manifest {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    throw new AppError("manifest.json is not JSON", { fix: "export the bundle again" });
  }
  const root = object(parsed, "the top");
  if (root.schema_version !== SCHEMA_VERSION) {
    throw new AppError("manifest.json has another schema version", {
      got: JSON.stringify(root.schema_version) ?? "none",
      expected: String(SCHEMA_VERSION),
      fix: "export the bundle again with this version of elir-edge",
    });
  }
  const identity = object(root.identity, "identity");
  const files = list(root.files, "files").map(fileEntry);
  const inputs = list(root.inputs, "inputs").map((spec, i) => tensorSpec(spec, `inputs[${i}]`));
  const outputs = list(root.outputs, "outputs").map((spec, i) => tensorSpec(spec, `outputs[${i}]`));
  const image = only(inputs, "inputs");
  const selfTest = object(root.self_test, "self_test");
  const source = object(root.source, "source");
  return {
    name: text(identity.name, "identity.name"),
    task: text(identity.task, "identity.task"),
    model: text(identity.model, "identity.model"),
    precision: text(object(root.precision, "precision").name, "precision.name"),
    sigmaS: number(identity.sigma_s, "identity.sigma_s"),
    size: squareSide(image),
    image,
    noise: inputs.find((spec) => spec.role === "noise") ?? null,
    output: only(outputs, "outputs"),
    processing: processing(object(root.processing, "processing"), squareSide(image)),
    trained: trainedRange(source.trained_range),
    artifact: artifact(root, files),
    selfTest: {
      input: named(files, text(selfTest.input, "self_test.input")),
      expected: named(files, text(selfTest.expected, "self_test.expected")),
      minPsnr: number(selfTest.min_psnr, "self_test.min_psnr"),
    },
  };
}

/**
 * Parse an entry of a list of files; what is served beside bundles has no role.
 *
 * @throws AppError it is malformed.
 */
export function fileEntry(value: unknown, index: number): FileEntry & { role: string } {
  const where = `files[${index}]`;
  const entry = object(value, where);
  const path = text(entry.path, `${where}.path`);
  if (path.startsWith("/") || path.split("/").includes("..")) throw malformed(`${where}.path`, path);
  return {
    path,
    role: text(entry.role ?? "", `${where}.role`),
    bytes: number(entry.bytes, `${where}.bytes`),
    sha256: text(entry.sha256, `${where}.sha256`),
  };
}

function named<T extends FileEntry>(files: T[], path: string): T {
  const found = files.find((entry) => entry.path === path);
  if (!found) throw malformed("files", path);
  return found;
}

function artifact(root: Json, files: (FileEntry & { role: string })[]): FileEntry {
  const target = object(root.target, "target");
  const runtimes = object(target.runtimes ?? {}, "target.runtimes");
  if (RUNTIME in runtimes) return named(files, text(runtimes[RUNTIME], "target.runtimes"));
  const found = files.find((entry) => entry.role === "artifact");
  if (target.backend !== RUNTIME || !found) {
    throw new AppError("this bundle is not for ONNX Runtime", {
      got: String(target.backend),
      fix: "export one by `make export TARGET=onnx`",
    });
  }
  return found;
}

function tensorSpec(value: unknown, where: string): TensorSpec {
  const spec = object(value, where);
  const layout = text(spec.layout, `${where}.layout`);
  const shape = list(spec.shape, `${where}.shape`).map((n) => number(n, `${where}.shape`));
  const role = oneOf(spec.role, ["image", "noise"] as const, `${where}.role`);
  const low = number(spec.low, `${where}.low`);
  const high = number(spec.high, `${where}.high`);
  if ([...layout].sort().join("") !== "CHNW" || shape.length !== 4) {
    throw malformed(`${where}.layout`, layout);
  }
  const elements = shape.reduce((product, n) => product * n, 1);
  if (!shape.every((n) => Number.isInteger(n) && n >= 1) || elements > MAX_ELEMENTS) {
    throw malformed(`${where}.shape`, shape);
  }
  if (role === "image" && !(high > low)) throw malformed(`${where}.high`, high);
  const dtype = oneOf(spec.dtype, DTYPES, `${where}.dtype`);
  return { name: text(spec.name, `${where}.name`), role, shape, dtype, layout, low, high };
}

function only(specs: TensorSpec[], where: string): TensorSpec {
  const found = specs.filter((spec) => spec.role === "image");
  if (found.length !== 1) throw malformed(where, `${found.length} tensors for the image`);
  return found[0];
}

/** Return the length of an axis, `N`, `C`, `H` or `W`. */
export function lengthOf(spec: TensorSpec, axis: string): number {
  return spec.shape[spec.layout.indexOf(axis)];
}

function squareSide(spec: TensorSpec): number {
  const [height, width] = [lengthOf(spec, "H"), lengthOf(spec, "W")];
  if (height !== width || lengthOf(spec, "C") !== 3) throw malformed(`${spec.name}.shape`, spec.shape);
  return height;
}

function processing(values: Json, size: number): Processing {
  const result: Processing = {
    fit: oneOf(values.fit, ["tile", "resize"] as const, "processing.fit"),
    overlap: number(values.overlap, "processing.overlap"),
    upscale: number(values.upscale, "processing.upscale"),
    upscaleFilter: oneOf(
      values.upscale_filter,
      ["nearest", "bicubic"] as const,
      "processing.upscale_filter",
    ),
  };
  const { fit, overlap, upscale } = result;
  if (!Number.isInteger(upscale) || upscale < 1 || upscale > MAX_UPSCALE) {
    throw malformed("processing.upscale", upscale);
  }
  if (fit === "tile" && !(overlap >= 0 && overlap <= size - 2 * upscale)) {
    throw malformed("processing.overlap", overlap);
  }
  return result;
}

function trainedRange(value: unknown): TrainedRange | null {
  if (value === null || value === undefined) return null;
  const found = object(value, "source.trained_range");
  return {
    noiseSigma: range(found.noise_sigma, "source.trained_range.noise_sigma"),
    jpegQuality: range(found.jpeg_quality, "source.trained_range.jpeg_quality"),
    missing: range(found.missing, "source.trained_range.missing"),
  };
}
