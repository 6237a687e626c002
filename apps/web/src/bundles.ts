/** The bundles that are served beside the page. */

import { AppError } from "./errors";
import { fetchNewest, fetchOnce } from "./kept";
import { type FileEntry, type Manifest, parseManifest } from "./manifest";

const INDEX = "bundles/index.json";

/** A bundle and where it is. */
export interface Bundle {
  manifest: Manifest;
  /** Address of its folder, with a slash at the end. */
  folder: string;
}

/** @throws AppError there are none, or one is malformed. */
export async function listBundles(base: string): Promise<Bundle[]> {
  const index: unknown = JSON.parse(await fetchNewest(new URL(INDEX, base).href));
  const names = (index as { bundles?: unknown }).bundles;
  if (!Array.isArray(names) || names.length === 0) {
    throw new AppError("no bundles are served", { fix: "start `elir-edge demo --bundle FOLDER`" });
  }
  return Promise.all(
    names.map(async (name) => {
      const folder = new URL(`bundles/${encodeURIComponent(String(name))}/`, base).href;
      return { folder, manifest: parseManifest(await fetchNewest(`${folder}manifest.json`)) };
    }),
  );
}

/** Return the address of a bundle's file: its content is part of it, so that it never changes. */
export function addressOf(bundle: Bundle, file: FileEntry): string {
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  return `${bundle.folder}${path}?${file.sha256.slice(0, 16)}`;
}

/** @throws AppError the file is not the one that was exported. */
export async function readFile(
  bundle: Bundle,
  file: FileEntry,
  loading?: (loaded: number, total: number) => void,
): Promise<ArrayBuffer> {
  const content = await fetchOnce(addressOf(bundle, file), loading);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== file.sha256) {
    throw new AppError(`${file.path} of ${bundle.manifest.name} was altered after export`, {
      fix: "copy the bundle again, or export again",
    });
  }
  return content;
}
