/** Image in, restored image out, whatever the size (`elir_edge/runtime/restore.py`). */

import { AppError } from "./errors";
import { fitAndRun, type Fitting, type Run } from "./fitting";
import type { Manifest } from "./manifest";
import { type ByteImage, byteOf } from "./pixels";
import { resize } from "./resample";

/** Most pixels of a result, and most along a side, that browsers' canvases hold. */
export const MAX_OUTPUT_PIXELS = 2 ** 27;
export const MAX_SIDE = 16384;

/** Interleaved RGBA bytes, as canvases give them. */
export interface Rgba {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

export interface Job {
  image: Rgba;
  /** One byte per pixel, not zero where it is missing; for `inpainting` alone. */
  mask: Uint8Array | null;
  /** Squeeze pictures that are no aligned faces, too. */
  whole: boolean;
}

/**
 * Restore an image; finished bands of rows are handed out from top to bottom.
 *
 * A picture without colours stays one. Transparency is enlarged along. Of `inpainting`, what is
 * known stays as it is; without a mask, pixels that are wholly transparent are missing.
 *
 * @throws AppError no such image or mask, or the result would be too large.
 */
export async function restoreImage(
  manifest: Manifest,
  job: Job,
  run: Run,
  emit: (top: number, band: Rgba) => void,
  progress: (done: number, total: number) => void,
): Promise<void> {
  const { image } = job;
  const scale = manifest.processing.upscale;
  checkSize(image.width * scale, image.height * scale);
  const missing = missingPixels(manifest, job);
  const pixels = coloursOf(image, missing);
  const alpha = missing ? null : enlargedAlpha(image, scale);
  const fitting: Fitting = {
    processing: manifest.processing,
    size: manifest.size,
    whole: job.whole,
  };
  await fitAndRun(fitting, pixels, run, {
    progress,
    emit: (top, band) => emit(top, assembled(top, band, image, missing, alpha)),
  });
}

/** @throws AppError a result of this size would be too large. */
export function checkSize(width: number, height: number): void {
  if (width <= MAX_SIDE && height <= MAX_SIDE && width * height <= MAX_OUTPUT_PIXELS) return;
  const most = Math.floor(MAX_OUTPUT_PIXELS / 1e6);
  throw new AppError(`the result would be ${width} x ${height}`, {
    expected: `at most ${MAX_SIDE} pixels along a side and ${most} megapixels`,
    fix: "crop the photo, or restore it by `elir-edge restore`",
  });
}

function missingPixels(manifest: Manifest, { image, mask }: Job): Uint8Array | null {
  const count = image.width * image.height;
  const fills = manifest.task === "inpainting";
  if (mask !== null) {
    if (!fills) {
      throw new AppError(`a mask marks missing pixels, which ${manifest.task} does not fill in`, {
        fix: "choose inpainting",
      });
    }
    if (mask.length !== count) {
      throw new AppError("the mask has another size than the photo", {
        got: `${mask.length} pixels`,
        expected: `${count}`,
      });
    }
    return mask;
  }
  if (!fills) return null;
  const transparent = new Uint8Array(count);
  let some = false;
  for (let i = 0; i < count; i++) {
    if (image.data[4 * i + 3] === 0) {
      transparent[i] = 1;
      some = true;
    }
  }
  return some ? transparent : null;
}

/** Return whether every pixel has three equal colours. */
export function isGray(image: Rgba): boolean {
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return false;
  }
  return true;
}

/** Return a picture's colours, or gray where it has none; what is missing is black. */
export function coloursOf(image: Rgba, missing: Uint8Array | null): ByteImage {
  const channels = isGray(image) ? 1 : 3;
  const count = image.width * image.height;
  const data = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    if (missing?.[i]) continue; // black, as the model learned missing pixels
    for (let c = 0; c < channels; c++) data[i * channels + c] = image.data[4 * i + c];
  }
  return { width: image.width, height: image.height, channels, data };
}

/** Return the transparency at the result's size; null: all is opaque. */
function enlargedAlpha(image: Rgba, scale: number): Uint8Array | null {
  const { width, height } = image;
  const alpha = new Float32Array(width * height);
  let opaque = true;
  for (let i = 0; i < alpha.length; i++) {
    const value = image.data[4 * i + 3];
    opaque &&= value === 255;
    alpha[i] = value / 255;
  }
  if (opaque) return null;
  const layer = { width, height, channels: 1, data: alpha };
  const sized = scale === 1 ? layer : resize(layer, height * scale, width * scale, "bicubic");
  return Uint8Array.from(sized.data, byteOf);
}

function assembled(
  top: number,
  band: ByteImage,
  image: Rgba,
  missing: Uint8Array | null,
  alpha: Uint8Array | null,
): Rgba {
  const count = band.width * band.height;
  const data = new Uint8ClampedArray(4 * count);
  const offset = top * band.width;
  for (let i = 0; i < count; i++) {
    const known = missing !== null && missing[offset + i] === 0;
    for (let c = 0; c < 3; c++) {
      data[4 * i + c] = known
        ? image.data[4 * (offset + i) + c]
        : band.data[i * band.channels + (band.channels === 3 ? c : 0)];
    }
    data[4 * i + 3] = known ? image.data[4 * (offset + i) + 3] : (alpha?.[offset + i] ?? 255);
  }
  return { width: band.width, height: band.height, data };
}
