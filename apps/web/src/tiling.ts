/**
 * Cover an image with overlapping tiles and blend them without seams, in bounded memory
 * (`elir_edge/runtime/tiling.py`).
 */

import { roundHalfEven } from "./numbers";
import type { FloatImage } from "./pixels";

/** The tiles along one axis. */
export interface Axis {
  /** First pixel of each tile, ascending; the last tile ends at the end. */
  starts: number[];
  /** Per tile its blending weights; at every pixel those of all tiles over it add up to 1. */
  weights: Float32Array[];
}

/**
 * Cover `length` >= `tile` pixels by tiles that share at least `overlap` pixels; neighbours are
 * cross-faded linearly over all pixels that they share.
 */
export function planAxis(length: number, tile: number, overlap: number): Axis {
  const count = length <= tile ? 1 : Math.max(1, Math.ceil((length - overlap) / (tile - overlap)));
  const starts = Array.from({ length: count }, (_, i) =>
    roundHalfEven((i * (length - tile)) / Math.max(1, count - 1)),
  );
  const total = new Float64Array(length);
  const ramps = starts.map((start, i) => {
    const ramp = new Float64Array(tile).fill(1);
    if (i > 0) {
      const shared = starts[i - 1] + tile - start;
      for (let k = 0; k < shared; k++) ramp[k] = (k + 0.5) / shared;
    }
    if (i + 1 < count) {
      const shared = start + tile - starts[i + 1];
      for (let k = 0; k < shared; k++) ramp[tile - 1 - k] *= (k + 0.5) / shared;
    }
    ramp.forEach((weight, k) => (total[start + k] += weight));
    return ramp;
  });
  const weights = ramps.map((ramp, i) =>
    Float32Array.from(ramp, (weight, k) => weight / total[starts[i] + k]),
  );
  return { starts, weights };
}

/**
 * Run every tile and hand out finished rows from top to bottom; one row of tiles is held at a time.
 *
 * @param rows tiles along the height, in input pixels.
 * @param columns tiles along the width, in input pixels.
 * @param width of the image, in input pixels.
 * @param scale output pixels per input pixel.
 * @param runTile (top, left) in input pixels to the tile's output, `scale` times as large.
 * @param emit (top, rows) in output pixels, called once for each finished band.
 */
export async function blendTiles(
  rows: Axis,
  columns: Axis,
  width: number,
  scale: number,
  runTile: (top: number, left: number) => Promise<FloatImage>,
  emit: (top: number, band: FloatImage) => void,
): Promise<void> {
  const tile = rows.weights[0].length * scale;
  const stride = width * scale * 3;
  // Where tiles overlap much, a thousand of them add up at a pixel: in float32 that shows.
  const band = new Float64Array(tile * stride);
  for (let i = 0; i < rows.starts.length; i++) {
    const top = rows.starts[i];
    for (let j = 0; j < columns.starts.length; j++) {
      const output = await runTile(top, columns.starts[j]);
      addTile(band, stride, output, rows.weights[i], columns.weights[j], columns.starts[j], scale);
    }
    const finished = i + 1 < rows.starts.length ? (rows.starts[i + 1] - top) * scale : tile;
    const data = Float32Array.from(band.subarray(0, finished * stride));
    emit(top * scale, { width: width * scale, height: finished, channels: 3, data });
    band.copyWithin(0, finished * stride);
    band.fill(0, (tile - finished) * stride);
  }
}

function addTile(
  band: Float64Array,
  stride: number,
  output: FloatImage,
  rowWeights: Float32Array,
  columnWeights: Float32Array,
  left: number,
  scale: number,
): void {
  let from = 0;
  for (let y = 0; y < output.height; y++) {
    const rowWeight = rowWeights[Math.floor(y / scale)];
    let to = y * stride + left * scale * 3;
    for (let x = 0; x < output.width; x++) {
      const columnWeight = columnWeights[Math.floor(x / scale)];
      for (let c = 0; c < 3; c++) {
        band[to++] += Math.fround(Math.fround(output.data[from++] * rowWeight) * columnWeight);
      }
    }
  }
}
