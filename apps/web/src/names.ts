/** Names and formats of what is downloaded. */

/** How a result is written. */
export interface Format {
  type: "image/png" | "image/jpeg" | "image/webp";
  suffix: string;
  /** Of 0 to 1, for formats with loss: that of `elir-edge restore`. */
  quality?: number;
}

const QUALITY = 0.95;
const PNG: Format = { type: "image/png", suffix: ".png" };
const FORMATS: Record<string, Format> = {
  ".png": PNG,
  ".jpg": { type: "image/jpeg", suffix: ".jpg", quality: QUALITY },
  ".jpeg": { type: "image/jpeg", suffix: ".jpeg", quality: QUALITY },
  ".webp": { type: "image/webp", suffix: ".webp", quality: QUALITY },
};

/**
 * Return the format of a photo's result: its own where browsers write it, otherwise PNG.
 *
 * @param name of the photo's file.
 * @param lossless PNG whatever the photo is.
 * @param transparent JPEG cannot hold it.
 */
export function formatOf(name: string, lossless: boolean, transparent: boolean): Format {
  const own = FORMATS[suffixOf(name).toLowerCase()] ?? PNG;
  return lossless || (transparent && own.type === "image/jpeg") ? PNG : own;
}

/** Return the photo's own name, as `elir-edge restore` keeps it; another format, another suffix. */
export function resultName(name: string, format: Format): string {
  const suffix = suffixOf(name);
  if (FORMATS[suffix.toLowerCase()]?.type === format.type) return name;
  return name.slice(0, name.length - suffix.length) + format.suffix;
}

function suffixOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot) : "";
}
