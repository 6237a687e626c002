/** Images as the tensors that a manifest describes (`elir_edge/runtime/tensors.py`). */

import { AppError } from "./errors";
import { lengthOf, type TensorSpec } from "./manifest";
import { roundHalfEven } from "./numbers";
import type { FloatImage } from "./pixels";

export type TensorData = Float32Array | Uint8Array | Int8Array;

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

/** Return how far apart neighbours along the axes N, H, W and C lie in a tensor's values. */
function strides(spec: TensorSpec): [number, number, number, number] {
  const step = (axis: string): number =>
    spec.shape.slice(spec.layout.indexOf(axis) + 1).reduce((product, n) => product * n, 1);
  return [step("N"), step("H"), step("W"), step("C")];
}

/** Bring RGB in [0, 1] to the graph's layout, range and type; a batch gets it at every place. */
export function toTensor(image: FloatImage, spec: TensorSpec): TensorData {
  const [stepN, stepH, stepW, stepC] = strides(spec);
  const data = new ARRAYS[spec.dtype](spec.shape.reduce((product, n) => product * n, 1));
  const span = Math.fround(spec.high - spec.low);
  const low = Math.fround(spec.low);
  const whole = spec.dtype !== "float32";
  for (let n = 0; n < lengthOf(spec, "N"); n++) {
    let from = 0;
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < image.width; x++) {
        const to = n * stepN + y * stepH + x * stepW;
        for (let c = 0; c < 3; c++) {
          const value = Math.fround(Math.fround(image.data[from++] * span) + low);
          data[to + c * stepC] = whole ? roundHalfEven(value) : value;
        }
      }
    }
  }
  return data;
}

/**
 * Bring the graph's first image back to RGB in [0, 1].
 *
 * @throws AppError another length than the manifest's, or values that are not finite.
 */
export function fromTensor(tensor: TensorData, spec: TensorSpec): FloatImage {
  const [, stepH, stepW, stepC] = strides(spec);
  const [height, width] = [lengthOf(spec, "H"), lengthOf(spec, "W")];
  const elements = spec.shape.reduce((product, n) => product * n, 1);
  if (tensor.length !== elements || !tensor.every(Number.isFinite)) {
    throw new AppError(`the graph's output ${spec.name} is unusable on this device`, {
      got: tensor.length === elements ? "values that are not finite" : `${tensor.length} values`,
      expected: `${elements} finite values`,
      fix: "choose another engine",
    });
  }
  const data = new Float32Array(height * width * 3);
  const span = Math.fround(spec.high - spec.low);
  const low = Math.fround(spec.low);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = y * stepH + x * stepW;
      for (let c = 0; c < 3; c++) {
        const value = Math.fround(Math.fround(tensor[from + c * stepC] - low) / span);
        data[to++] = Math.min(1, Math.max(0, value));
      }
    }
  }
  return { width, height, channels: 3, data };
}
