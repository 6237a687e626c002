/** Pixels in memory: their forms, and the way to floats and back (`elir_edge/runtime/arrays.py`). */

import { roundHalfEven } from "./numbers";

/** Interleaved bytes, row by row: RGB, or gray where `channels` is 1. */
export interface ByteImage {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}

/** Interleaved float32 values, row by row; colours are in [0, 1]. */
export interface FloatImage {
  width: number;
  height: number;
  channels: number;
  data: Float32Array;
}

/** ITU-R BT.601, as Pillow's gray. */
const LUMA = [0.299, 0.587, 0.114].map(Math.fround);

const BYTE_AS_FLOAT = Float32Array.from({ length: 256 }, (_, value) => value / 255);

/** Return pixels [top, bottom) x [left, right) as RGB in [0, 1]; gray becomes three equal colours. */
export function regionAsFloat(
  image: ByteImage,
  top: number,
  left: number,
  bottom: number,
  right: number,
): FloatImage {
  const [height, width] = [bottom - top, right - left];
  const data = new Float32Array(height * width * 3);
  let to = 0;
  for (let y = top; y < bottom; y++) {
    let from = (y * image.width + left) * image.channels;
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        data[to++] = BYTE_AS_FLOAT[image.data[from + (image.channels === 3 ? c : 0)]];
      }
      from += image.channels;
    }
  }
  return { width, height, channels: 3, data };
}

/** Return a float in [0, 1] as a byte; what lies outside is cut off. */
export function byteOf(value: number): number {
  return roundHalfEven(Math.fround(Math.min(1, Math.max(0, value)) * 255));
}

/** Return the luminance of three colours from a place on. */
export function luminanceOf(colours: ArrayLike<number>, at: number): number {
  let luminance = 0;
  for (let c = 0; c < 3; c++) {
    luminance = Math.fround(luminance + Math.fround(colours[at + c] * LUMA[c]));
  }
  return luminance;
}

/** Return float RGB as bytes: three colours, or their luminance where `channels` is 1. */
export function floatAsBytes(image: FloatImage, channels: 1 | 3): ByteImage {
  const { width, height } = image;
  const data = new Uint8Array(width * height * channels);
  if (channels === 3) {
    for (let i = 0; i < data.length; i++) data[i] = byteOf(image.data[i]);
  } else {
    for (let i = 0; i < data.length; i++) data[i] = byteOf(luminanceOf(image.data, 3 * i));
  }
  return { width, height, channels, data };
}

/** Return the index that mirroring at the borders, border pixels repeated, puts at `index` >= 0. */
export function mirroredIndex(index: number, length: number): number {
  const place = index % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
}

/** Extend each side to at least `size` by mirroring, at the bottom and the right. */
export function padTo<T extends ByteImage | FloatImage>(image: T, size: number): T {
  const [width, height] = [Math.max(size, image.width), Math.max(size, image.height)];
  if (width === image.width && height === image.height) return image;
  const { channels } = image;
  const length = width * height * channels;
  const data =
    image.data instanceof Uint8Array ? new Uint8Array(length) : new Float32Array(length);
  for (let y = 0; y < height; y++) {
    const row = mirroredIndex(y, image.height) * image.width;
    for (let x = 0; x < width; x++) {
      const from = (row + mirroredIndex(x, image.width)) * channels;
      const to = (y * width + x) * channels;
      for (let c = 0; c < channels; c++) data[to + c] = image.data[from + c];
    }
  }
  return { ...image, width, height, data };
}

/** Return a part of a float image. */
export function crop(
  image: FloatImage,
  top: number,
  left: number,
  height: number,
  width: number,
): FloatImage {
  const { channels } = image;
  const data = new Float32Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * channels;
    data.set(image.data.subarray(from, from + width * channels), y * width * channels);
  }
  return { width, height, channels, data };
}
