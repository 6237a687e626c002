/** How an image of any size meets a graph of one fixed size (`elir_edge/runtime/fitting.py`). */

import { AppError } from "./errors";
import type { Processing } from "./manifest";
import { roundHalfEven } from "./numbers";
import {
  type ByteImage,
  crop,
  type FloatImage,
  floatAsBytes,
  padTo,
  regionAsFloat,
} from "./pixels";
import { resize } from "./resample";
import { blendTiles, planAxis } from "./tiling";

const NEAR_SQUARE = 1.25;
/** Input pixels around a region that its enlargement may depend on. */
const FILTER_REACH = 4;

/** Runs the graph on (size, size) RGB in [0, 1]; the number picks the draw of the noise. */
export type Run = (image: FloatImage, noiseKey: number) => Promise<FloatImage>;

export interface Fitting {
  processing: Processing;
  /** Side of the graph's square input, in pixels. */
  size: number;
  /** Squeeze pictures that are far from square, too, where the fit is one resize. */
  whole: boolean;
}

export interface Callbacks {
  /** A finished band of rows, from top to bottom: (top, rows) in output pixels. */
  emit: (top: number, band: ByteImage) => void;
  /** (tiles done, tiles in all) */
  progress?: (done: number, total: number) => void;
}

/** Return the number of runs of the graph that an image takes. */
export function tileCount(fitting: Fitting, width: number, height: number): number {
  if (fitting.processing.fit === "resize") return 1;
  const { tile, overlap } = tileOf(fitting);
  const along = (length: number): number =>
    planAxis(Math.max(tile, length), tile, overlap).starts.length;
  return along(width) * along(height);
}

/**
 * Restore an image by runs of the graph.
 *
 * @throws AppError far from square, where the whole picture has to be in view.
 */
export async function fitAndRun(
  fitting: Fitting,
  image: ByteImage,
  run: Run,
  callbacks: Callbacks,
): Promise<void> {
  if (fitting.processing.fit === "resize") await runWhole(fitting, image, run, callbacks);
  else await runTiles(fitting, image, run, callbacks);
}

function tileOf(fitting: Fitting): { tile: number; overlap: number } {
  const { upscale, overlap } = fitting.processing;
  return { tile: Math.floor(fitting.size / upscale), overlap: Math.ceil(overlap / upscale) };
}

async function runTiles(
  fitting: Fitting,
  image: ByteImage,
  run: Run,
  { emit, progress }: Callbacks,
): Promise<void> {
  const scale = fitting.processing.upscale;
  const { tile, overlap } = tileOf(fitting);
  const padded = padTo(image, tile);
  const rows = planAxis(padded.height, tile, overlap);
  const columns = planAxis(padded.width, tile, overlap);
  const total = rows.starts.length * columns.starts.length;
  let done = 0;
  const runTile = async (top: number, left: number): Promise<FloatImage> => {
    const restored = await run(enlargedRegion(fitting.processing, padded, top, left, tile), done);
    done += 1;
    progress?.(done, total);
    return restored;
  };
  await blendTiles(rows, columns, padded.width, scale, runTile, (top, band) => {
    const visible = Math.min(band.height, image.height * scale - top);
    if (visible <= 0) return;
    emit(top, floatAsBytes(crop(band, 0, 0, visible, image.width * scale), image.channels));
  });
}

/** Return a tile of an image, enlarged as if the whole image had been. */
function enlargedRegion(
  processing: Processing,
  image: ByteImage,
  top: number,
  left: number,
  tile: number,
): FloatImage {
  const scale = processing.upscale;
  if (scale === 1) return regionAsFloat(image, top, left, top + tile, left + tile);
  const [above, before] = [Math.min(top, FILTER_REACH), Math.min(left, FILTER_REACH)];
  const region = regionAsFloat(
    image,
    top - above,
    left - before,
    Math.min(image.height, top + tile + FILTER_REACH),
    Math.min(image.width, left + tile + FILTER_REACH),
  );
  const enlarged = resize(
    region,
    region.height * scale,
    region.width * scale,
    processing.upscaleFilter,
  );
  return crop(enlarged, above * scale, before * scale, tile * scale, tile * scale);
}

async function runWhole(
  fitting: Fitting,
  image: ByteImage,
  run: Run,
  { emit, progress }: Callbacks,
): Promise<void> {
  const { width, height } = image;
  const longest = Math.max(height, width);
  if (longest > NEAR_SQUARE * Math.min(height, width) && !fitting.whole) {
    throw new AppError(
      `a picture of ${width} x ${height} is not an aligned face, which this model needs`,
      {
        expected: `sides in a ratio of at most ${NEAR_SQUARE}`,
        fix: "crop it to the face, or tick “Squeeze any picture”",
      },
    );
  }
  const restored = await restoreWhole(fitting, regionAsFloat(image, 0, 0, height, width), run);
  progress?.(1, 1);
  emit(0, floatAsBytes(restored, image.channels));
}

/** Fit the longer side to the graph, fill the rest by mirroring, restore, size back. */
export async function restoreWhole(
  { size, processing: { upscale } }: Pick<Fitting, "size" | "processing">,
  image: FloatImage,
  run: Run,
): Promise<FloatImage> {
  const { width, height } = image;
  const factor = size / Math.max(height, width);
  const [fittedHeight, fittedWidth] = [height, width].map((side) =>
    Math.min(size, Math.max(1, roundHalfEven(side * factor))),
  );
  const small = resize(image, fittedHeight, fittedWidth, "bicubic");
  const restored = crop(await run(padTo(small, size), 0), 0, 0, fittedHeight, fittedWidth);
  return resize(restored, height * upscale, width * upscale, "bicubic");
}
