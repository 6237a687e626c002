/** Pictures moved by a similarity transform (`elir_edge/runtime/faces/warp.py`). */

import { roundHalfEven } from "../numbers";
import type { ByteImage, FloatImage } from "../pixels";
import { LANCZOS, resample, sampleBicubic } from "../resample";
import { type Box, boxOf, invert, type Matrix, scaleOf } from "./geometry";

/** Pixels around what is sampled that the filters may reach. */
const MARGIN = 4;
/**
 * Pixels per pixel of the result that are left by a reduction: its filter takes some of the finest
 * detail with what it must take.
 */
const SPARE = 1.25;

/** Return a transform in whose source and target coordinates count from pixels' corners. */
export function ofCorners([a, b, c, d, e, f]: Matrix): Matrix {
  return [a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2];
}

/**
 * Return a picture transformed: RGB in [0, 1].
 *
 * Where the transform reduces, what is finer than a pixel is filtered out first. Beyond its edges
 * the picture is mirrored, as the photos that restorers of faces learn from were.
 *
 * @param matrix from the picture to the result.
 */
export function warp(
  picture: ByteImage | FloatImage,
  matrix: Matrix,
  width: number,
  height: number,
): FloatImage {
  const back = invert(matrix);
  const [left, top, right, bottom] = boxOf(back, width, height);
  const box: Box = [left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN];
  let part = mirroredRegion(picture, box);
  // To about the result's scale where that is smaller; then twice as fine: the bicubic
  // interpolation alone blurs and rings too much to go there and back.
  const reduction = Math.min(1, SPARE * scaleOf(matrix));
  const [wide, high] = [part.width, part.height].map((side) =>
    Math.max(1, roundHalfEven(side * reduction)),
  );
  const [factorX, factorY] = [(2 * wide) / part.width, (2 * high) / part.height];
  if (reduction < 1) part = resample(part, high, wide, LANCZOS);
  part = resample(part, 2 * high, 2 * wide, LANCZOS);
  const [a, b, c, d, e, f] = back;
  const fine: Matrix = [
    a * factorX,
    b * factorX,
    (c - box[0] + 0.5) * factorX - 0.5,
    d * factorY,
    e * factorY,
    (f - box[1] + 0.5) * factorY - 0.5,
  ];
  const values = sampleBicubic(part, ofCorners(fine), width, height);
  const data = Float32Array.from(values, (value) => Math.min(1, Math.max(0, value)));
  return { width, height, channels: 3, data };
}

/** Return a box of a picture, mirrored where it reaches over the edges: RGB in [0, 1]. */
function mirroredRegion(picture: ByteImage | FloatImage, box: Box): FloatImage {
  const [left, top, right, bottom] = box;
  const [width, height] = [right - left, bottom - top];
  const { channels } = picture;
  const scale = picture.data instanceof Uint8Array ? 255 : 1;
  const columns = Array.from({ length: width }, (_, x) => mirrored(left + x, picture.width));
  const data = new Float32Array(3 * width * height);
  let to = 0;
  for (let y = top; y < bottom; y++) {
    const row = mirrored(y, picture.height) * picture.width;
    for (const column of columns) {
      const from = (row + column) * channels;
      for (let c = 0; c < 3; c++) {
        data[to++] = picture.data[from + (channels === 3 ? c : 0)] / scale;
      }
    }
  }
  return { width, height, channels: 3, data };
}

/** Return an index, reflected at the edges where it lies outside of 0 ... length - 1. */
function mirrored(index: number, length: number): number {
  const folded = ((index % (2 * length)) + 2 * length) % (2 * length);
  return folded < length ? folded : 2 * length - 1 - folded;
}
