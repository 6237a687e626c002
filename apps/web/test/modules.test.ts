/** The modules' own rules, on cases small enough to compute by hand. */

import { afterEach, describe, expect, test, vi } from "vitest";

import { addressOf, listServed, readNetworks } from "../src/bundles";
import { AppError, lineOf } from "../src/errors";
import { fetchNewest, fetchOnce } from "../src/kept";
import { type Manifest, parseManifest, type TensorSpec } from "../src/manifest";
import { psnr } from "../src/metrics";
import { formatOf, resultName } from "../src/names";
import { drawNormal } from "../src/noise";
import { roundHalfEven } from "../src/numbers";
import { byteOf, type FloatImage } from "../src/pixels";
import { duration } from "../src/progress";
import { remarkOn } from "../src/remarks";
import { checkSize, restoreImage, type Rgba } from "../src/restore";
import { fromTensor, toTensor } from "../src/tensors";
import { engineText, outcomeText } from "../src/words";

const SHA = "0".repeat(64);

function manifestJson(): Record<string, any> {
  const tensor = {
    name: "image",
    role: "image",
    shape: [1, 3, 64, 64],
    dtype: "float32",
    layout: "NCHW",
    colour: "RGB",
    low: 0,
    high: 1,
  };
  const file = (path: string, role: string) => ({ path, role, bytes: 1, sha256: SHA });
  return {
    schema_version: 2,
    identity: { name: "sr-tiny", task: "sr", model: "tiny", sigma_s: 0.1 },
    source: { trained_range: { noise_sigma: [15, 90], jpeg_quality: null, missing: null } },
    precision: { name: "fp32" },
    files: [file("model.onnx", "artifact"), file("in.png", "golden"), file("out.png", "golden")],
    inputs: [tensor],
    outputs: [{ ...tensor, name: "restored" }],
    processing: { fit: "tile", overlap: 16, upscale: 1, upscale_filter: "nearest" },
    target: { backend: "onnxruntime", runtimes: { onnxruntime: "model.onnx" } },
    self_test: { input: "in.png", expected: "out.png", min_psnr: 55 },
  };
}

const parsed = (change: (json: Record<string, any>) => void = () => {}): Manifest => {
  const json = manifestJson();
  change(json);
  return parseManifest(JSON.stringify(json));
};

describe("manifest", () => {
  test("says what running needs", () => {
    const manifest = parsed();
    expect(manifest).toMatchObject({ name: "sr-tiny", size: 64, precision: "fp32", noise: null });
    expect(manifest.artifact.path).toBe("model.onnx");
    expect(manifest.selfTest.minPsnr).toBe(55);
  });

  test("a second input is the noise", () => {
    const manifest = parsed((json) => {
      json.inputs.push({ ...json.inputs[0], name: "noise", role: "noise", shape: [1, 4, 8, 8] });
    });
    expect(manifest.noise?.shape).toEqual([1, 4, 8, 8]);
  });

  test("the runtime's own file comes first", () => {
    const manifest = parsed((json) => {
      json.files.push({ path: "model-ort.onnx", role: "model", bytes: 1, sha256: SHA });
      json.target.runtimes.onnxruntime = "model-ort.onnx";
    });
    expect(manifest.artifact.path).toBe("model-ort.onnx");
  });

  test.each<[string, (json: Record<string, any>) => void]>([
    ["another schema version", (json) => (json.schema_version = 3)],
    ["malformed at processing.upscale", (json) => (json.processing.upscale = 0)],
    ["malformed at processing.upscale", (json) => (json.processing.upscale = 1.5)],
    ["malformed at processing.overlap", (json) => (json.processing.overlap = 63)],
    ["malformed at processing.fit", (json) => (json.processing.fit = "crop")],
    ["malformed at inputs[0].layout", (json) => (json.inputs[0].layout = "NCHH")],
    ["malformed at inputs[0].shape", (json) => (json.inputs[0].shape = [1, 3, 2 ** 20, 2 ** 20])],
    ["malformed at inputs[0].dtype", (json) => (json.inputs[0].dtype = "float64")],
    ["malformed at inputs[0].high", (json) => (json.inputs[0].high = 0)],
    ["malformed at image.shape", (json) => (json.inputs[0].shape = [1, 3, 64, 32])],
    ["malformed at inputs", (json) => json.inputs.push(json.inputs[0])],
    ["malformed at files[0].path", (json) => (json.files[0].path = "../model.onnx")],
    ["malformed at files", (json) => (json.self_test.input = "other.png")],
    ["malformed at identity", (json) => delete json.identity],
    ["not for ONNX Runtime", (json) => (json.target = { backend: "litert", runtimes: {} })],
  ])("refuses one: %s", (line, change) => {
    expect(() => parsed(change)).toThrow(line);
    expect(() => parsed(change)).toThrow(AppError);
  });

  test("refuses what is no JSON", () => {
    expect(() => parseManifest("{")).toThrow("manifest.json is not JSON; fix: export");
  });
});

test("halves are rounded to even numbers", () => {
  expect([0.5, 1.5, 2.5, 2.4999, 2.5001, -1.5].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3, -2]);
  expect([-1, 0, 0.5 / 255, 1.5 / 255, 1, 2].map(byteOf)).toEqual([0, 0, 0, 2, 255, 255]);
});

describe("tensors", () => {
  const image: FloatImage = {
    width: 2,
    height: 2,
    channels: 3,
    data: Float32Array.from([0, 0.25, 0.5, 0.75, 1, 0, 0.25, 0.5, 0.75, 1, 0, 0.25]),
  };
  const spec = (more: Partial<TensorSpec>): TensorSpec => ({
    name: "image",
    role: "image",
    shape: [1, 3, 2, 2],
    dtype: "float32",
    layout: "NCHW",
    low: 0,
    high: 1,
    ...more,
  });

  test("channels first", () => {
    expect([...toTensor(image, spec({}))]).toEqual([
      ...[0, 0.75, 0.25, 1, 0.25, 1, 0.5, 0, 0.5, 0, 0.75, 0.25],
    ]);
  });

  test("whole numbers of another range, twice", () => {
    const bytes = spec({
      shape: [2, 2, 2, 3],
      layout: "NHWC",
      dtype: "int8",
      low: -128,
      high: 127,
    });
    const expected = [...image.data].map((value) => roundHalfEven(value * 255 - 128));
    expect([...toTensor(image, bytes)]).toEqual([...expected, ...expected]);
  });

  test.each([spec({}), spec({ low: -1, high: 1 }), spec({ shape: [1, 2, 2, 3], layout: "NHWC" })])(
    "back again",
    (each) => expect([...fromTensor(toTensor(image, each), each).data]).toEqual([...image.data]),
  );

  test("values that are not finite, or another number of them, are refused", () => {
    const broken = toTensor(image, spec({})) as Float32Array;
    broken[5] = Number.NaN;
    expect(() => fromTensor(broken, spec({}))).toThrow("not finite");
    expect(() => fromTensor(new Float32Array(3), spec({}))).toThrow("got 3 values");
  });
});

describe("noise", () => {
  test("is normal, and the same for the same seed and tile", () => {
    const draw = drawNormal(20001, 0, 0);
    const mean = draw.reduce((sum, value) => sum + value, 0) / draw.length;
    const variance = draw.reduce((sum, value) => sum + (value - mean) ** 2, 0) / draw.length;
    // Four standard errors: of the mean 1 / sqrt(n), of the variance sqrt(2 / n).
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(draw.length));
    expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / draw.length));
    expect(drawNormal(20001, 0, 0)).toEqual(draw);
    expect(drawNormal(20001, 0, 1)).not.toEqual(draw);
    expect(drawNormal(20001, 1, 0)).not.toEqual(draw);
  });
});

describe("restoring", () => {
  const invert = (image: FloatImage): Promise<FloatImage> =>
    Promise.resolve({ ...image, data: image.data.map((value) => 1 - value) });

  function photo(width: number, height: number, rgba: number[]): Rgba {
    const data = new Uint8ClampedArray(4 * width * height);
    for (let i = 0; i < data.length; i += 4) data.set(rgba, i);
    return { width, height, data };
  }

  async function restored(
    image: Rgba,
    mask: Uint8Array | null = null,
    change: (json: Record<string, any>) => void = () => {},
  ): Promise<Uint8ClampedArray> {
    const manifest = parsed(change);
    const scale = manifest.processing.upscale;
    const whole = new Uint8ClampedArray(image.data.length * scale * scale);
    const emit = (top: number, band: Rgba): void => whole.set(band.data, 4 * top * band.width);
    await restoreImage(manifest, { image, mask, whole: false }, invert, emit, () => {});
    return whole;
  }
  const inpainting = (json: Record<string, any>): void => {
    json.identity.task = "inpainting";
  };

  test("colours", async () => {
    const result = await restored(photo(70, 65, [10, 20, 30, 255]));
    expect([...result.slice(-4)]).toEqual([245, 235, 225, 255]);
  });

  test("gray stays gray", async () => {
    const result = await restored(photo(70, 65, [10, 10, 10, 255]));
    expect([...result.slice(0, 4)]).toEqual([245, 245, 245, 255]);
  });

  test("transparency is enlarged along", async () => {
    const result = await restored(photo(20, 17, [10, 20, 30, 100]), null, (json) => {
      Object.assign(json.processing, { upscale: 2, upscale_filter: "bicubic" });
    });
    expect(result.length).toBe(4 * 40 * 34);
    expect([...result.slice(0, 4)]).toEqual([245, 235, 225, 100]);
  });

  test("what is known stays as it is, what was missing is filled in and opaque", async () => {
    const image = photo(2, 1, [10, 20, 30, 200]);
    const result = await restored(image, Uint8Array.from([0, 1]), inpainting);
    expect([...result]).toEqual([10, 20, 30, 200, 255, 255, 255, 255]);
  });

  test("without a mask, what is transparent is missing", async () => {
    const image = photo(2, 1, [10, 20, 30, 255]);
    image.data[7] = 0;
    const result = await restored(image, null, inpainting);
    expect([...result]).toEqual([10, 20, 30, 255, 255, 255, 255, 255]);
  });

  test("without both, the whole picture is the model's", async () => {
    const result = await restored(photo(2, 1, [10, 20, 30, 255]), null, inpainting);
    expect([...result.slice(0, 4)]).toEqual([245, 235, 225, 255]);
  });

  test("masks that cannot be", async () => {
    const image = photo(2, 1, [10, 20, 30, 255]);
    await expect(restored(image, new Uint8Array(2))).rejects.toThrow("sr does not fill in");
    await expect(restored(image, new Uint8Array(3), inpainting)).rejects.toThrow("another size");
  });

  test("far from square, where a face is expected", async () => {
    const image = photo(20, 10, [10, 20, 30, 255]);
    const face = (json: Record<string, any>): void => {
      json.processing.fit = "resize";
    };
    await expect(restored(image, null, face)).rejects.toThrow("20 x 10 is not an aligned face");
  });

  test("results that are too large", () => {
    expect(() => checkSize(16384, 8192)).not.toThrow();
    expect(() => checkSize(16385, 10)).toThrow("the result would be 16385 x 10");
    expect(() => checkSize(16384, 8193)).toThrow("at most 16384 pixels along a side and 134");
  });
});

describe("remarks", () => {
  function noisy(sigma: number): Rgba {
    const draw = drawNormal(4 * 128 * 128, 7, 0);
    const data = Uint8ClampedArray.from(draw, (value) => 128 + sigma * value);
    return { width: 128, height: 128, data };
  }

  test("on noise", () => {
    expect(remarkOn(noisy(1), parsed(), false)).toContain("looks cleaner (noise of 1)");
    expect(remarkOn(noisy(30), parsed(), false)).toBeNull();
    const narrow = parsed((json) => (json.source.trained_range.noise_sigma = [5, 10]));
    expect(remarkOn(noisy(30), narrow, false)).toContain("looks noisier");
  });

  test("on what is missing", () => {
    const fills = parsed((json) => (json.source.trained_range.missing = [0.5, 0.95]));
    expect(remarkOn(noisy(1), fills, false)).toContain("Nothing says what is missing");
    expect(remarkOn(noisy(1), fills, true)).toBeNull();
    expect(remarkOn(noisy(30), fills, false)).toBeNull();
  });

  test("none where the bundle records nothing", () => {
    expect(
      remarkOn(
        noisy(1),
        parsed((json) => (json.source = {})),
        false,
      ),
    ).toBeNull();
  });
});

describe("names", () => {
  test.each([
    ["cat.jpg", false, false, "cat.jpg", "image/jpeg"],
    ["Cat.JPEG", false, false, "Cat.JPEG", "image/jpeg"],
    ["cat.jpg", true, false, "cat.png", "image/png"],
    ["cat.jpg", false, true, "cat.png", "image/png"],
    ["cat.webp", false, true, "cat.webp", "image/webp"],
    ["a.b.heic", false, false, "a.b.png", "image/png"],
    ["cat.png", true, false, "cat.png", "image/png"],
    ["cat", false, false, "cat.png", "image/png"],
    [".cat", false, false, ".cat.png", "image/png"],
  ])("%s, lossless: %s, transparent: %s: %s", (name, lossless, transparent, expected, type) => {
    const format = formatOf(name, lossless, transparent);
    expect(format.type).toBe(type);
    expect(resultName(name, format)).toBe(expected);
  });
});

test("psnr", () => {
  expect(psnr([0, 0], [0, 0])).toBe(Number.POSITIVE_INFINITY);
  expect(psnr([0], [255])).toBe(0);
  expect(psnr([0, 0], [0, 1])).toBeCloseTo(10 * Math.log10(255 ** 2 * 2), 9);
  expect(psnr([0], [0, 0])).toBeNaN();
});

test("times", () => {
  expect([400, 59_400, 61_000, 600_000].map(duration)).toEqual([
    ...["0 s", "59 s", "1 min 01 s", "10 min 00 s"],
  ]);
});

test("what the page says of its engine and its work", () => {
  expect(engineText(null)).toBe("Loading");
  expect(engineText({ kind: "webgpu", threads: 1, note: "" })).toBe("WebGPU");
  expect(engineText({ kind: "wasm", threads: 1, note: "" })).toBe("WebAssembly, SIMD, 1 thread");
  const seconds = { milliseconds: 2000, tiles: 1, faces: null };
  expect(outcomeText(seconds, 500_000)).toBe(
    "Restored in 2000 ms: 1 tile, 0.50 megapixels, 0.25 megapixels a second.",
  );
  expect(outcomeText({ ...seconds, tiles: 4 }, 500_000)).toContain(": 4 tiles of 500 ms, 0.50");
  const faces = { restored: 1, skipped: 0, large: 0 };
  expect(outcomeText({ ...seconds, tiles: 0, faces }, 500_000)).toContain(": 1 face, 0.50");
  expect(outcomeText({ ...seconds, tiles: 4, faces }, 5e5)).toContain(": 4 tiles, 1 face, 0.50");
});

test("errors are one line", () => {
  const error = new AppError("a\n b", { got: "c", expected: "d", fix: "e" });
  expect(lineOf(error)).toBe("a b; got c; expected d; fix: e");
  expect(lineOf("text")).toBe("text");
});

describe("files that are kept", () => {
  const kept = new Map<string, Response>();
  const cache = {
    match: async (url: string) => kept.get(url)?.clone(),
    put: async (url: string, response: Response) => void kept.set(url, response),
  };
  afterEach(() => {
    vi.unstubAllGlobals();
    kept.clear();
  });
  const serve = (answer: () => Response): void => {
    vi.stubGlobal("caches", { open: async () => cache });
    vi.stubGlobal("fetch", async () => answer());
  };
  const url = "http://127.0.0.1/bundles/a/model.onnx";
  const offline = (): Response => {
    throw new TypeError("Failed to fetch");
  };

  test("what never changes is fetched once", async () => {
    serve(() => new Response("first"));
    const loads: number[] = [];
    const content = await fetchOnce(url, (loaded) => loads.push(loaded));
    expect(new TextDecoder().decode(content)).toBe("first");
    expect(loads.at(-1)).toBe(5);
    serve(offline);
    expect(new TextDecoder().decode(await fetchOnce(url))).toBe("first");
  });

  test("the newest where there is a connection, the last without", async () => {
    serve(() => new Response("first"));
    expect(await fetchNewest(url)).toBe("first");
    serve(() => new Response("second"));
    expect(await fetchNewest(url)).toBe("second");
    serve(offline);
    expect(await fetchNewest(url)).toBe("second");
  });

  test("what cannot be had is one line", async () => {
    serve(offline);
    await expect(fetchOnce(url)).rejects.toThrow("a/model.onnx cannot be fetched; got Failed");
    serve(() => new Response("", { status: 404 }));
    await expect(fetchNewest(url)).rejects.toThrow("a/model.onnx cannot be fetched; got HTTP 404");
    expect(kept.size).toBe(0);
  });
});

describe("what is served", () => {
  const base = "http://127.0.0.1:8000/";
  const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of "test"
  const network = (name: string) => ({ path: name, bytes: 4, sha256: digest });
  const networks = ["a.onnx", "b.onnx", "c.onnx"].map(network);
  afterEach(() => vi.unstubAllGlobals());

  function serve(faces: unknown, altered = ""): void {
    const index = JSON.stringify({ bundles: ["sr tiny"], faces });
    const files: Record<string, string> = {
      [`${base}bundles/index.json`]: index,
      [`${base}bundles/sr%20tiny/manifest.json`]: JSON.stringify(manifestJson()),
    };
    vi.stubGlobal("fetch", async (url: string) => {
      const content = altered !== "" && url.includes(altered) ? "text" : "test";
      return new Response(files[url] ?? content);
    });
  }

  test("bundles, and the networks that find faces", async () => {
    serve({ networks, reason: "" });
    const served = await listServed(base);
    expect(served.bundles.map(({ folder }) => folder)).toEqual([`${base}bundles/sr%20tiny/`]);
    const found = served.networks as { folder: string; files: typeof networks };
    expect(found.files.map((file) => addressOf(found, file))).toEqual(
      ["a", "b", "c"].map((name) => `${base}faces/${name}.onnx?9f86d081884c7d65`),
    );
  });

  test("a line says why there are none", async () => {
    serve({ networks: [], reason: "not installed" });
    expect((await listServed(base)).networks).toBe("not installed");
    serve(undefined);
    expect((await listServed(base)).networks).toContain("the server has no networks");
  });

  test("networks that were altered are refused", async () => {
    serve({ networks, reason: "" });
    const served = (await listServed(base)).networks;
    if (typeof served === "string") throw new Error(served);
    expect((await readNetworks(served, () => {})).map((each) => each.byteLength)).toEqual([
      4, 4, 4,
    ]);
    serve({ networks, reason: "" }, "b.onnx"); // of the three, which are read side by side
    await expect(readNetworks(served, () => {})).rejects.toThrow(
      "b.onnx, which finds faces, is not",
    );
  });
});
