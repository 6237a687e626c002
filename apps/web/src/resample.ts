/** Resampling of floats as Pillow does it: `nearest` and `bicubic` (a = -0.5, antialiased). */

import type { FloatImage } from "./pixels";

const BICUBIC_SUPPORT = 2;
const BICUBIC_A = -0.5;

/** The pixels that make one output pixel: `weights.length` of them, from `first` on. */
interface Taps {
  first: number;
  weights: Float64Array;
}

/** Return an image in [0, 1] resampled to another size; overshoot is cut off. */
export function resize(
  image: FloatImage,
  height: number,
  width: number,
  method: "nearest" | "bicubic",
): FloatImage {
  if (method === "nearest") return nearest(image, height, width);
  const wide = width === image.width ? image : alongRows(image, width);
  const sized = height === wide.height ? wide : alongColumns(wide, height);
  const data = sized.data.map((value) => Math.min(1, Math.max(0, value)));
  return { ...sized, data };
}

function nearest(image: FloatImage, height: number, width: number): FloatImage {
  const { channels } = image;
  const data = new Float32Array(height * width * channels);
  const columns = nearestIndices(image.width, width);
  let to = 0;
  for (const row of nearestIndices(image.height, height)) {
    for (const column of columns) {
      const from = (row * image.width + column) * channels;
      for (let c = 0; c < channels; c++) data[to++] = image.data[from + c];
    }
  }
  return { width, height, channels, data };
}

function nearestIndices(length: number, wanted: number): number[] {
  const scale = length / wanted;
  return Array.from({ length: wanted }, (_, i) =>
    Math.min(length - 1, Math.floor((i + 0.5) * scale)),
  );
}

function bicubic(x: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((BICUBIC_A + 2) * d - (BICUBIC_A + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * BICUBIC_A;
  return 0;
}

function tapsOf(length: number, wanted: number): Taps[] {
  const scale = length / wanted;
  const filterScale = Math.max(1, scale); // of what is reduced, more pixels are averaged
  const support = BICUBIC_SUPPORT * filterScale;
  return Array.from({ length: wanted }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, k) =>
      bicubic((k + first - center + 0.5) / filterScale),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: sum === 0 ? weights : weights.map((weight) => weight / sum) };
  });
}

function alongRows(image: FloatImage, width: number): FloatImage {
  const { height, channels } = image;
  const data = new Float32Array(height * width * channels);
  const taps = tapsOf(image.width, width);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (const { first, weights } of taps) {
      const from = (y * image.width + first) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += image.data[from + k * channels + c] * weights[k];
        }
        data[to++] = sum;
      }
    }
  }
  return { width, height, channels, data };
}

function alongColumns(image: FloatImage, height: number): FloatImage {
  const stride = image.width * image.channels;
  const data = new Float32Array(height * stride);
  tapsOf(image.height, height).forEach(({ first, weights }, y) => {
    for (let x = 0; x < stride; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) {
        sum += image.data[(first + k) * stride + x] * weights[k];
      }
      data[y * stride + x] = sum;
    }
  });
  return { ...image, height, data };
}
