/** Resampling as Pillow does it: to another size, antialiased, and by an affine transform. */

import type { Matrix } from "./faces/geometry";
import type { FloatImage } from "./pixels";

/** A filter's weight at a distance in pixels, and how far it reaches. */
export interface Filter {
  support: number;
  weight: (x: number) => number;
}

export const BOX: Filter = { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };
export const BILINEAR: Filter = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };
const BICUBIC_A = -0.5;
const BICUBIC: Filter = {
  support: 2,
  weight(x) {
    const d = Math.abs(x);
    if (d < 1) return ((BICUBIC_A + 2) * d - (BICUBIC_A + 3)) * d * d + 1;
    if (d < 2) return (((d - 5) * d + 8) * d - 4) * BICUBIC_A;
    return 0;
  },
};
const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
export const LANCZOS: Filter = {
  support: 3,
  weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0),
};

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
  const sized = resample(image, height, width, BICUBIC);
  return { ...sized, data: sized.data.map((value) => Math.min(1, Math.max(0, value))) };
}

/** Return an image resampled to another size; values may overshoot. */
export function resample(
  image: FloatImage,
  height: number,
  width: number,
  filter: Filter,
): FloatImage {
  const wide = width === image.width ? image : alongRows(image, width, filter);
  return height === wide.height ? wide : alongColumns(wide, height, filter);
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

/** Return what each of `wanted` pixels along an axis is made of. */
export function tapsOf(length: number, wanted: number, filter: Filter): Taps[] {
  const scale = length / wanted;
  const filterScale = Math.max(1, scale); // of what is reduced, more pixels are averaged
  const support = filter.support * filterScale;
  const step = 1 / filterScale;
  return Array.from({ length: wanted }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, k) =>
      filter.weight((k + first - center + 0.5) * step),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: sum === 0 ? weights : weights.map((weight) => weight / sum) };
  });
}

function alongRows(image: FloatImage, width: number, filter: Filter): FloatImage {
  const { height, channels } = image;
  const data = new Float32Array(height * width * channels);
  const taps = tapsOf(image.width, width, filter);
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

function alongColumns(image: FloatImage, height: number, filter: Filter): FloatImage {
  const stride = image.width * image.channels;
  const data = new Float32Array(height * stride);
  tapsOf(image.height, height, filter).forEach(({ first, weights }, y) => {
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

interface Sampled {
  width: number;
  height: number;
  data: Float32Array | Uint8Array;
}

/**
 * Return three colours sampled by bicubic interpolation (a = -1); beyond the image they are 0.
 *
 * @param back from the result to the image, in coordinates of pixels' corners.
 */
export function sampleBicubic(
  image: Sampled,
  [a, b, c, d, e, f]: Matrix,
  width: number,
  height: number,
): Float64Array {
  const result = new Float64Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inX = a * (x + 0.5) + b * (y + 0.5) + c;
      const inY = d * (x + 0.5) + e * (y + 0.5) + f;
      if (inX >= 0 && inX < image.width && inY >= 0 && inY < image.height) {
        samplePixel(image, inX - 0.5, inY - 0.5, result, 3 * (y * width + x));
      }
    }
  }
  return result;
}

/** Interpolate in four rows, then between them; a row that lacks repeats the one above. */
function samplePixel(
  { width, height, data }: Sampled,
  x: number,
  y: number,
  result: Float64Array,
  to: number,
): void {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [x - left, y - top];
  const x0 = 3 * Math.min(width - 1, Math.max(0, left - 1));
  const x1 = 3 * Math.min(width - 1, Math.max(0, left));
  const x2 = 3 * Math.min(width - 1, Math.max(0, left + 1));
  const x3 = 3 * Math.min(width - 1, Math.max(0, left + 2));
  const first = Math.min(height - 1, Math.max(0, top - 1));
  const rows = [0, 0, 0, 0];
  for (let c = 0; c < 3; c++) {
    for (let k = 0; k < 4; k++) {
      const row = k === 0 ? first : top - 1 + k;
      if (row < 0 || row >= height) rows[k] = rows[k - 1];
      else {
        const at = 3 * row * width + c;
        rows[k] = cubic(data[at + x0], data[at + x1], data[at + x2], data[at + x3], dx);
      }
    }
    result[to + c] = cubic(rows[0], rows[1], rows[2], rows[3], dy);
  }
}

/** Return the cubic between the middle two of four values. */
function cubic(v1: number, v2: number, v3: number, v4: number, at: number): number {
  // In Pillow's order, whose roundings decide bytes.
  const p2 = -v1 + v3;
  const p3 = 2 * (v1 - v2) + v3 - v4;
  const p4 = -v1 + v2 - v3 + v4;
  return v2 + at * (p2 + at * (p3 + at * p4));
}
