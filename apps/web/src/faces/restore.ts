/** The faces of a photo, restored and pasted back (`elir_edge/runtime/faces/restore.py`). */

import { type ByteImage, byteOf, type FloatImage, luminanceOf } from "../pixels";
import type { Picture } from "../picture";
import { coloursOf, type Rgba } from "../restore";
import { boxOf, cutOff, enlarged, fitSimilarity, invert, type Matrix, scaleOf } from "./geometry";
import { type Face, sideOf } from "./finder";
import { maskAt, SIDE, TEMPLATE } from "./template";
import { warp } from "./warp";

/**
 * Side of the smallest faces that are restored, in pixels: of smaller ones too little is left, and
 * what the model would make up is another person's face.
 */
export const SMALLEST = 32;
/** Aligned pixels per pixel of the photo, below which detail is lost. */
const COARSE = 0.8;

/** What became of a photo's faces. */
export interface FacesFound {
  restored: number;
  /** Found, and too small. */
  skipped: number;
  /** Restored, and larger than the model's side. */
  large: number;
}

/** What finds and restores faces. */
export interface FaceModels {
  find(picture: Picture): Promise<Face[]>;
  /** Restore an aligned face, SIDE x SIDE in [0, 1]. */
  restore(aligned: FloatImage): Promise<FloatImage>;
}

/** What restores the rest of a photo. */
export interface Background {
  /** Pixels of the result per pixel of the photo, along each axis. */
  scale: number;
  restore(emit: (top: number, band: Rgba) => void): Promise<void>;
}

/** Hands out a finished part of the result. */
export type EmitPart = (left: number, top: number, part: Rgba) => void;

/**
 * Restore every face of a photo, and the rest of it by a background or not at all.
 *
 * Each face is brought to the template of aligned faces by a similarity transform, restored, and
 * pasted back through a soft mask. Outside the masks nothing changes, unless a background is given.
 *
 * @param emit gets the photo or the background's bands, then each face's surroundings.
 * @param progress called with (faces done, faces in all).
 */
export async function restoreFaces(
  image: Rgba,
  models: FaceModels,
  background: Background | null,
  emit: EmitPart,
  progress: (done: number, total: number) => void,
): Promise<FacesFound> {
  const pixels = coloursOf(image, null);
  const found = await models.find(threeColours(pixels));
  const faces = found.filter((face) => sideOf(face) >= SMALLEST);
  const result = await surroundings(image, background, emit);
  if (faces.length > 0) progress(0, faces.length);
  // The largest is nearest to the camera: it comes last and lies on top.
  for (const [done, face] of faces.reverse().entries()) {
    const matrix = fitSimilarity(face.points, TEMPLATE);
    const restored = await models.restore(warp(pixels, matrix, SIDE, SIDE));
    const back = enlarged(invert(matrix), background?.scale ?? 1);
    paste(result, restored, back, pixels.channels === 1, emit);
    progress(done + 1, faces.length);
  }
  const scales = faces.map(({ points }) => scaleOf(fitSimilarity(points, TEMPLATE)));
  return {
    restored: faces.length,
    skipped: found.length - faces.length,
    large: scales.filter((scale) => scale < COARSE).length,
  };
}

/** Say what of a photo's faces was not restored, as Python does; null: nothing. */
export function remarkOnFaces({ restored, skipped, large }: FacesFound): string | null {
  const lines: string[] = [];
  if (skipped > 0)
    lines.push(`faces smaller than ${SMALLEST} pixels are left as they are (${skipped})`);
  if (restored === 0) lines.push("no face to restore was found");
  if (large > 0) lines.push(`faces larger than the model’s ${SIDE} pixels lose detail (${large})`);
  const text = lines.join("; ");
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : null;
}

/** Return the picture into which faces are pasted. */
async function surroundings(
  image: Rgba,
  background: Background | null,
  emit: EmitPart,
): Promise<Rgba> {
  const scale = background?.scale ?? 1;
  const [width, height] = [image.width * scale, image.height * scale];
  const result: Rgba = { width, height, data: new Uint8ClampedArray(4 * width * height) };
  if (background === null) {
    result.data.set(image.data);
    emit(0, 0, { ...result, data: result.data.slice() });
    return result;
  }
  await background.restore((top, band) => {
    result.data.set(band.data, 4 * top * width);
    emit(0, top, band);
  });
  return result;
}

/** Blend a restored face into a picture, in its place, and hand out its surroundings. */
function paste(
  picture: Rgba,
  face: FloatImage,
  matrix: Matrix,
  gray: boolean,
  emit: EmitPart,
): void {
  const box = boxOf(matrix, SIDE, SIDE);
  const [left, top] = [Math.max(0, box[0]), Math.max(0, box[1])];
  const right = Math.min(picture.width, box[2]);
  const bottom = Math.min(picture.height, box[3]);
  if (left >= right || top >= bottom) return;
  const [width, height] = [right - left, bottom - top];
  const toBox = cutOff(matrix, left, top);
  const inside = warp(face, toBox, width, height);
  const [a, b, c, d, e, f] = invert(toBox);
  const part: Rgba = { width, height, data: new Uint8ClampedArray(4 * width * height) };
  for (let y = 0; y < height; y++) {
    const row = 4 * ((top + y) * picture.width + left);
    for (let x = 0; x < width; x++) {
      const share = maskAt(a * x + b * y + c, d * x + e * y + f);
      if (share > 0)
        blend(picture.data, row + 4 * x, inside.data, 3 * (y * width + x), share, gray);
    }
    part.data.set(picture.data.subarray(row, row + 4 * width), 4 * y * width);
  }
  emit(left, top, part);
}

/** Mix a pixel of a face into one of a picture; the transparency stays. */
function blend(
  picture: Uint8ClampedArray,
  to: number,
  face: Float32Array,
  from: number,
  share: number,
  gray: boolean,
): void {
  const rest = Math.fround(1 - share);
  const mixed = [0, 1, 2].map((c) => {
    const there = Math.fround(Math.fround(picture[to + c] / 255) * rest);
    return Math.fround(there + Math.fround(face[from + c] * share));
  });
  const luminance = gray ? luminanceOf(mixed, 0) : 0;
  for (let c = 0; c < 3; c++) picture[to + c] = byteOf(gray ? luminance : mixed[c]);
}

/** Return an image as RGB bytes. */
function threeColours({ width, height, channels, data }: ByteImage): Picture {
  if (channels === 3) return { width, height, data };
  const colours = new Uint8Array(3 * width * height);
  for (let i = 0; i < colours.length; i++) colours[i] = data[Math.floor(i / 3)];
  return { width, height, data: colours };
}
