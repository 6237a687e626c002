/**
 * Pictures of RGB bytes, cut and resampled as Pillow does it: what the networks that find faces see
 * is then the same, byte for byte.
 */

import type { Box, Matrix } from "./faces/geometry";
import { BILINEAR, BOX, type Filter, sampleBicubic, tapsOf } from "./resample";

/** Interleaved RGB bytes, row by row. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Bits of the fixed-point weights by which Pillow resamples bytes. */
const PRECISION = 22;

const FILTERS = { box: BOX, bilinear: BILINEAR };

/** Return a part; beyond the picture it is black. */
export function cropBytes(picture: Picture, [left, top, right, bottom]: Box): Picture {
  const [width, height] = [right - left, bottom - top];
  const data = new Uint8Array(3 * width * height);
  const [first, end] = [Math.max(0, left), Math.min(picture.width, right)];
  if (first < end) {
    for (let y = Math.max(0, top); y < Math.min(picture.height, bottom); y++) {
      const row = 3 * y * picture.width;
      const part = picture.data.subarray(row + 3 * first, row + 3 * end);
      data.set(part, 3 * ((y - top) * width + first - left));
    }
  }
  return { width, height, data };
}

/** Return a picture turned counterclockwise by quarters of a turn, 0 to 3. */
export function turned(picture: Picture, quarters: number): Picture {
  if (quarters === 0) return picture;
  const across = quarters % 2 === 1;
  const [width, height] = across
    ? [picture.height, picture.width]
    : [picture.width, picture.height];
  const data = new Uint8Array(picture.data.length);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const fromX = quarters === 1 ? height - 1 - y : quarters === 2 ? width - 1 - x : y;
      const fromY = quarters === 1 ? x : quarters === 2 ? height - 1 - y : width - 1 - x;
      const from = 3 * (fromY * picture.width + fromX);
      data[to++] = picture.data[from];
      data[to++] = picture.data[from + 1];
      data[to++] = picture.data[from + 2];
    }
  }
  return { width, height, data };
}

/** Return a picture resampled to another size: along rows first, rounded to bytes in between. */
export function resizeBytes(
  picture: Picture,
  width: number,
  height: number,
  filter: keyof typeof FILTERS,
): Picture {
  let { data } = picture;
  if (width !== picture.width) {
    const taps = fixedTaps(picture.width, width, FILTERS[filter]);
    const wide = new Uint8Array(3 * width * picture.height);
    for (let y = 0; y < picture.height; y++) {
      for (let x = 0; x < width; x++) {
        const { first, weights } = taps[x];
        mix(data, 3 * (y * picture.width + first), 3, weights, wide, 3 * (y * width + x));
      }
    }
    data = wide;
  }
  if (height !== picture.height) {
    const sized = new Uint8Array(3 * width * height);
    fixedTaps(picture.height, height, FILTERS[filter]).forEach(({ first, weights }, y) => {
      for (let x = 0; x < width; x++) {
        mix(data, 3 * (first * width + x), 3 * width, weights, sized, 3 * (y * width + x));
      }
    });
    data = sized;
  }
  return { width, height, data };
}

function fixedTaps(length: number, wanted: number, filter: Filter) {
  return tapsOf(length, wanted, filter).map(({ first, weights }) => ({
    first,
    // Half away from zero, as the C code casts.
    weights: Int32Array.from(weights, (weight) =>
      Math.trunc(weight * (1 << PRECISION) + (weight < 0 ? -0.5 : 0.5)),
    ),
  }));
}

/** Write the weighted mean of pixels, which lie `step` apart from `from` on. */
function mix(
  data: Uint8Array,
  from: number,
  step: number,
  weights: Int32Array,
  result: Uint8Array,
  to: number,
): void {
  let red = 1 << (PRECISION - 1);
  let [green, blue] = [red, red];
  for (let k = 0; k < weights.length; k++) {
    const at = from + k * step;
    red += data[at] * weights[k];
    green += data[at + 1] * weights[k];
    blue += data[at + 2] * weights[k];
  }
  result[to] = red >> PRECISION;
  result[to + 1] = green >> PRECISION;
  result[to + 2] = blue >> PRECISION;
}

/** Return a picture whose pixels are the rounded means of squares; at the far edges, of parts. */
export function reduceBytes(picture: Picture, factor: number): Picture {
  const [width, height] = [picture.width, picture.height].map((side) => Math.ceil(side / factor));
  const data = new Uint8Array(3 * width * height);
  let to = 0;
  for (let y = 0; y < height; y++) {
    const bottom = Math.min(picture.height, (y + 1) * factor);
    for (let x = 0; x < width; x++) {
      const right = Math.min(picture.width, (x + 1) * factor);
      const count = (bottom - y * factor) * (right - x * factor);
      // Pillow divides by a multiplication, whose factor is a float32 cut off.
      const multiplier = Math.floor(Math.fround(2 ** 32 / (256 * count)));
      for (let c = 0; c < 3; c++) {
        let sum = count >> 1;
        for (let row = y * factor; row < bottom; row++) {
          for (let column = x * factor; column < right; column++) {
            sum += picture.data[3 * (row * picture.width + column) + c];
          }
        }
        data[to++] = Math.floor((sum * multiplier) / 2 ** 24);
      }
    }
  }
  return { width, height, data };
}

/**
 * Return a square of a picture by bicubic interpolation; beyond the picture it is black.
 *
 * @param back from the square to the picture, in coordinates of pixels' corners.
 */
export function affineBytes(picture: Picture, back: Matrix, size: number): Picture {
  const values = sampleBicubic(picture, back, size, size);
  // Fractions are cut off, not rounded.
  const data = Uint8Array.from(values, (value) => Math.min(255, Math.max(0, value)));
  return { width: size, height: size, data };
}
