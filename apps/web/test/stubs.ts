/** Pictures and networks of formulas that `tests/apps/make_web_golden.py` has, too. */

import type { Network, Output } from "../src/faces/finder";
import type { ByteImage, FloatImage } from "../src/pixels";
import type { Picture } from "../src/picture";
import type { Rgba } from "../src/restore";

export function picture(height: number, width: number, channels: 1 | 3): ByteImage {
  const data = new Uint8Array(height * width * channels);
  let i = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) data[i++] = (7 * x + 13 * y + 29 * c + x * y) % 256;
    }
  }
  return { width, height, channels, data };
}

/** Return a picture for canvases; of `channels` 1 the red alone, as gray. */
export function rgbaOf(image: ByteImage, channels: 1 | 3 = 3): Rgba {
  const data = new Uint8ClampedArray(4 * image.width * image.height);
  for (let i = 0; i < image.width * image.height; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = image.data[3 * i + (channels === 3 ? c : 0)];
    data[4 * i + 3] = 255;
  }
  return { width: image.width, height: image.height, data };
}

/** Stand in for the graph: darker to the right, brighter with every tile. */
export function network(image: FloatImage, key: number): Promise<FloatImage> {
  const step = (key % 3) * 0.0625;
  const data = image.data.map((value, i) => {
    const x = Math.floor(i / 3) % image.width;
    return Math.min(1, Math.max(0, value * 0.5 + (x / image.width) * 0.25 + step));
  });
  return Promise.resolve({ ...image, data });
}

/** Return the bytes that a hexadecimal text stands for. */
export function bytesOf(hexadecimal: string): Uint8Array {
  return Uint8Array.from(hexadecimal.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

const DISCS = [
  [60, 70, 34],
  [150, 50, 20],
  [5, 150, 25],
];

/** Return a dark picture with three bright discs, one of them cut off. */
export function discs(height: number, width: number): Picture {
  const data = new Uint8Array(3 * height * width);
  let i = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = DISCS.some(([u, v, radius]) => (x - u) ** 2 + (y - v) ** 2 <= radius ** 2);
      for (let c = 0; c < 3; c++) {
        data[i++] = 20 + ((3 * x + 5 * y + 7 * c) % 24) + (inside ? 190 : 0);
      }
    }
  }
  return { width, height, data };
}

type Red = (n: number, x: number, y: number) => number;

/** Return a network of one function; it gets the red of pixels, by picture, x and y. */
function stub(outputs: (red: Red, shape: number[]) => Record<string, Output>): Network {
  return {
    run: (data, shape) => {
      const red: Red = (n, x, y) => data[3 * ((n * shape[1] + x) * shape[2] + y)];
      return Promise.resolve(outputs(red, shape));
    },
  };
}

function output(rows: number[][], shape: number[]): Output {
  return { data: Float32Array.from(rows.flat()), shape };
}

function scoresOf(red: Red, shape: number[]): Output {
  const [count, side] = shape;
  const near = Math.floor(side / 4);
  const far = side - 1 - near;
  const sum = (n: number, one: number, other: number): number =>
    red(n, one, one) + red(n, one, other) + red(n, other, one) + red(n, other, other);
  const rows = Array.from({ length: count }, (_, n) => {
    const score = Math.min(1, 0.25 + (sum(n, near, far) - sum(n, 0, side - 1)) / 8);
    return [1 - score, score];
  });
  return output(rows, [count, 2]);
}

/** Stand in for the networks that find faces: a face is a bright disc. */
export const stubs: [Network, Network, Network] = [
  stub((red, shape) => {
    const [columns, rows] = [shape[1], shape[2]].map((side) => Math.ceil((side - 2) / 2) - 4);
    const places = Array.from({ length: columns * rows }, (_, i) =>
      red(0, 6 + 2 * Math.floor(i / rows), 6 + 2 * (i % rows)),
    );
    const scores = places.map((value) => [1 - (0.25 + value / 2), 0.25 + value / 2]);
    const offsets = places.map((value) => [value / 16, -value / 16, value / 32, value / 16]);
    return {
      softmax: output(scores, [1, columns, rows, 2]),
      conv2d_4: output(offsets, [1, columns, rows, 4]),
    };
  }),
  stub((red, shape) => {
    const at = [2, 5, 20, 12].map((x, i) => [x, [3, 18, 7, 12][i]]);
    const rows = Array.from({ length: shape[0] }, (_, n) => at.map(([x, y]) => red(n, x, y) / 16));
    return { softmax_1: scoresOf(red, shape), dense_2: output(rows, [shape[0], 4]) };
  }),
  stub((red, shape) => {
    const at = [4, 9, 40, 24].map((x, i) => [x, [6, 36, 13, 24][i]]);
    const points = [20, 44, 32, 22, 42, 26, 26, 36, 46, 46];
    const all = Array.from({ length: shape[0] }, (_, n) => n);
    return {
      softmax_2: scoresOf(red, shape),
      dense_5: output(
        all.map((n) => at.map(([x, y]) => red(n, x, y) / 32)),
        [shape[0], 4],
      ),
      dense_6: output(
        all.map((n) => points.map((value, i) => value / 64 + red(n, 3 + 4 * i, 24) / 64)),
        [shape[0], 10],
      ),
    };
  }),
];
