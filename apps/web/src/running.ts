/** A bundle that runs here: its graph from image to image, and its self-test. */

import { type Bundle, readFile } from "./bundles";
import { type Engine, type EngineKind, openEngine } from "./engine";
import { AppError } from "./errors";
import type { Manifest } from "./manifest";
import { psnr } from "./metrics";
import { drawNormal } from "./noise";
import { type ByteImage, type FloatImage, floatAsBytes, regionAsFloat } from "./pixels";
import { fromTensor, type TensorData, toTensor } from "./tensors";

const SEED = 0;

type Loading = (loaded: number, total: number) => void;

export class RunningBundle {
  readonly manifest: Manifest;

  private constructor(
    private readonly bundle: Bundle,
    private readonly engine: Engine,
  ) {
    this.manifest = bundle.manifest;
  }

  /**
   * Load a bundle's graph.
   *
   * @param model the content of its ONNX file.
   * @throws AppError the engine refuses it, or a GPU gives another image than was recorded.
   */
  static async open(
    bundle: Bundle,
    model: ArrayBuffer,
    kind: EngineKind,
    threads: number,
    loading: Loading,
  ): Promise<RunningBundle> {
    const engine = await openEngine(kind, threads, bundle.manifest, model, loading);
    const running = new RunningBundle(bundle, engine);
    // Drivers differ: what a GPU computes is compared with what the export recorded.
    if (kind === "webgpu") await running.selfTest();
    return running;
  }

  /** Run the graph on RGB in [0, 1]; the key picks the draw of the noise. */
  async run(image: FloatImage, key: number): Promise<FloatImage> {
    const { manifest } = this;
    const inputs: Record<string, TensorData> = {
      [manifest.image.name]: toTensor(image, manifest.image),
    };
    if (manifest.noise) {
      const count = manifest.noise.shape.reduce((product, n) => product * n, 1);
      const draw = drawNormal(count, SEED, key);
      inputs[manifest.noise.name] = draw.map((value) => value * manifest.sigmaS);
    }
    return fromTensor(await this.engine.run(inputs), manifest.output);
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  private async selfTest(): Promise<void> {
    const { selfTest, name, size: side } = this.manifest;
    const [input, expected] = await Promise.all(
      [selfTest.input, selfTest.expected].map(async (file) =>
        decode(await readFile(this.bundle, file)),
      ),
    );
    if ([input, expected].some((image) => image.width !== side || image.height !== side)) {
      throw new AppError(`the golden images of ${name} do not fit its graph`);
    }
    const restored = await this.run(regionAsFloat(input, 0, 0, side, side), 0);
    const nearness = psnr(floatAsBytes(restored, 3).data, expected.data);
    if (!(nearness >= selfTest.minPsnr)) {
      throw new AppError("the GPU gives another image than the export recorded", {
        got: `${nearness.toFixed(1)} dB`,
        expected: `at least ${selfTest.minPsnr} dB`,
        fix: "choose WebAssembly under Engine",
      });
    }
  }
}

async function decode(content: ArrayBuffer): Promise<ByteImage> {
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
  return { width, height, channels: 3, data };
}
