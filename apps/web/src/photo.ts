/** A photo from the user: decoded by the browser, upright, in sRGB. */

import { contextOf } from "./dom";
import { AppError } from "./errors";
import { MAX_OUTPUT_PIXELS, MAX_SIDE, type Rgba } from "./restore";

export interface Photo {
  name: string;
  image: Rgba;
}

/** @throws AppError no image that this browser reads, or too large a one. */
export async function readPhoto(file: Blob, name: string): Promise<Photo> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new AppError(`${name} is not an image that this browser can read`, {
      expected: "a whole JPEG, PNG, WebP, AVIF, GIF or BMP file",
      fix: "convert it, or restore it by `elir-edge restore`",
    });
  }
  const { width, height } = bitmap;
  try {
    if (width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_OUTPUT_PIXELS) {
      throw new AppError(`${name} has more pixels than a browser handles`, {
        got: `${width} x ${height}`,
        fix: "crop it, or restore it by `elir-edge restore`",
      });
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = contextOf(canvas);
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    return { name, image: { width, height, data } };
  } finally {
    bitmap.close();
  }
}

/** Read a mask: one byte per pixel, 1 where the image is at least half white. */
export async function readMask(file: Blob, name: string, like: Rgba): Promise<Uint8Array> {
  const { image } = await readPhoto(file, name);
  if (image.width !== like.width || image.height !== like.height) {
    throw new AppError("the mask has another size than the photo", {
      got: `${image.width} x ${image.height}`,
      expected: `${like.width} x ${like.height}`,
    });
  }
  const mask = new Uint8Array(image.width * image.height);
  for (let i = 0; i < mask.length; i++) {
    const [red, green, blue, alpha] = image.data.subarray(4 * i, 4 * i + 4);
    mask[i] = ((red + green + blue) / 3 / 255) * (alpha / 255) >= 0.5 ? 1 : 0;
  }
  return mask;
}

/** Return whether some pixel is not opaque. */
export function hasTransparency({ data }: Rgba): boolean {
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return true;
  return false;
}
