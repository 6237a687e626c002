/** Does a photo look like those that a model learned to restore? (`elir_edge/runtime/inputs.py`) */

import type { Manifest } from "./manifest";
import type { Rgba } from "./restore";

const BLOCK = 32;
/** Side of the part in the middle that is looked at, in pixels. */
const LOOKED_AT = 1024;
const GAUSSIAN_MAD = 0.6745;
/** How far outside the range an estimate has to be, which is off by up to a third. */
const BELOW = 0.6;
const ABOVE = 1.5;
/** Photos without noise are rarely estimated higher (sigma of 255). */
const CLEAN = 5;
const SHRUNK = 1.25;

/** Return the median; of an even number of values, the mean of the middle two. */
function median(values: Float32Array): number {
  values.sort();
  const middle = values.length >> 1;
  return values.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/** Return the lower quartile, interpolated as numpy does. */
function lowerQuartile(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) / 4;
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/**
 * Estimate the standard deviation of white noise in a photo, of 255: the median of the finest
 * diagonal Haar coefficients over 0.6745 (Donoho and Johnstone 1994), in blocks of 32 pixels; of
 * all blocks the lower quartile.
 */
export function estimateNoise({ width, height, data }: Rgba): number {
  const top = Math.floor(Math.max(0, height - LOOKED_AT) / 2);
  const left = Math.floor(Math.max(0, width - LOOKED_AT) / 2);
  const rows = Math.min(height - top, LOOKED_AT) >> 1;
  const columns = Math.min(width - left, LOOKED_AT) >> 1;
  const [blockRows, blockColumns] = [Math.min(BLOCK / 2, rows), Math.min(BLOCK / 2, columns)];
  if (blockRows === 0 || blockColumns === 0) return 0;
  const haar = (y: number, x: number, c: number): number => {
    const at = 4 * ((top + 2 * y) * width + left + 2 * x) + c;
    const below = at + 4 * width;
    return Math.abs(data[at] - data[at + 4] - data[below] + data[below + 4]) / 2;
  };
  const spreads: number[] = [];
  const block = new Float32Array(blockRows * blockColumns);
  for (let y = 0; y + blockRows <= rows; y += blockRows) {
    for (let x = 0; x + blockColumns <= columns; x += blockColumns) {
      let sum = 0;
      for (let c = 0; c < 3; c++) {
        for (let k = 0; k < block.length; k++) {
          block[k] = haar(y + Math.floor(k / blockColumns), x + (k % blockColumns), c);
        }
        sum += median(block);
      }
      spreads.push(sum / 3);
    }
  }
  return lowerQuartile(spreads) / GAUSSIAN_MAD;
}

/** Return the share of pixels that are black, as missing ones are. */
export function shareMissing({ data }: Rgba): number {
  let black = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] === 0 && data[i + 1] === 0 && data[i + 2] === 0) black += 1;
  }
  return black / (data.length / 4);
}

/**
 * Say what about a photo is unlike those that a model learned to restore; null: nothing.
 *
 * @param masked whether what is missing is known.
 */
export function remarkOn(photo: Rgba, manifest: Manifest, masked: boolean): string | null {
  const { trained, size, processing } = manifest;
  if (!trained) return null;
  const longest = Math.max(photo.width, photo.height);
  if (processing.fit === "resize" && longest > size * SHRUNK) {
    return `This photo is reduced from ${longest} to ${size} pixels and enlarged again: detail is lost.`;
  }
  if (Math.min(photo.width, photo.height) < BLOCK) return null; // too small to tell
  if (!trained.missing) return noiseRemark(estimateNoise(photo), trained.noiseSigma);
  if (masked) return null;
  const share = shareMissing(photo);
  // Noise lightens missing pixels: what is as noisy as that may lack any number of them.
  if (share >= trained.missing[0] * BELOW || estimateNoise(photo) > CLEAN) return null;
  return "Nothing says what is missing in this photo: paint over it, or choose a mask file.";
}

function noiseRemark(sigma: number, learned: [number, number] | null): string | null {
  if (!learned) return null;
  const [low, high] = learned;
  const span = low === high ? `${low}` : `${low} to ${high}`;
  const found = `noise of ${sigma.toFixed(0)}`;
  if (sigma < low * BELOW) {
    return `This photo looks cleaner (${found}) than what this model restores (${span}): detail may be lost.`;
  }
  if (sigma > high * ABOVE) {
    return `This photo looks noisier (${found}) than what this model restores (${span}): noise may be left.`;
  }
  return null;
}
