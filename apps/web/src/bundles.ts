/** The bundles that are served beside the page, and the networks that find faces. */

import { AppError } from "./errors";
import { fetchNewest, fetchOnce } from "./kept";
import { type FileEntry, fileEntry, type Manifest, parseManifest } from "./manifest";

const INDEX = "bundles/index.json";
const NETWORKS = 3;
const NO_NETWORKS =
  "the server has no networks that find faces; fix: serve them, as `elir-edge demo` does";

/** A bundle and where it is. */
export interface Bundle {
  manifest: Manifest;
  /** Address of its folder, with a slash at the end. */
  folder: string;
}

/** The three networks that find faces, in the order in which they look. */
export interface Networks {
  folder: string;
  files: FileEntry[];
}

/** All that is served. */
export interface Served {
  bundles: Bundle[];
  /** A line on why there are none takes their place. */
  networks: Networks | string;
}

/** Return the address of the list of bundles. */
export function indexOf(base: string): string {
  return new URL(INDEX, base).href;
}

/** @throws AppError there are no bundles, or the list or one of them is malformed. */
export async function listServed(base: string): Promise<Served> {
  const index = JSON.parse(await fetchNewest(indexOf(base))) as {
    bundles?: unknown;
    faces?: { networks?: unknown; reason?: unknown };
  };
  const names = index.bundles;
  if (!Array.isArray(names) || names.length === 0) {
    throw new AppError("no bundles are served", { fix: "start `elir-edge demo --bundle FOLDER`" });
  }
  const bundles = names.map(async (name) => {
    const folder = new URL(`bundles/${encodeURIComponent(String(name))}/`, base).href;
    return { folder, manifest: parseManifest(await fetchNewest(`${folder}manifest.json`)) };
  });
  return { bundles: await Promise.all(bundles), networks: networksOf(index.faces, base) };
}

function networksOf(
  faces: { networks?: unknown; reason?: unknown } | undefined,
  base: string,
): Networks | string {
  const files = Array.isArray(faces?.networks) ? faces.networks.map(fileEntry) : [];
  if (files.length === NETWORKS) return { folder: new URL("faces/", base).href, files };
  return typeof faces?.reason === "string" && faces.reason ? faces.reason : NO_NETWORKS;
}

/** Return the address of a file: its content is part of it, so that it never changes. */
export function addressOf({ folder }: { folder: string }, file: FileEntry): string {
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  return `${folder}${path}?${file.sha256.slice(0, 16)}`;
}

type Loading = (loaded: number, total: number) => void;

/** @throws AppError the file is not the one that was exported. */
export async function readFile(
  bundle: Bundle,
  file: FileEntry,
  loading?: Loading,
): Promise<ArrayBuffer> {
  const content = await fetchOnce(addressOf(bundle, file), loading);
  if ((await digestOf(content)) === file.sha256) return content;
  throw new AppError(`${file.path} of ${bundle.manifest.name} was altered after export`, {
    fix: "copy the bundle again or export anew",
  });
}

/** @throws AppError a network is not the one that was released. */
export async function readNetworks(networks: Networks, loading: Loading): Promise<ArrayBuffer[]> {
  return Promise.all(
    networks.files.map(async (file) => {
      const content = await fetchOnce(addressOf(networks, file), loading);
      if ((await digestOf(content)) === file.sha256) return content;
      throw new AppError(`${file.path}, which finds faces, is not the file that was released`, {
        fix: "pip install 'elir-edge[faces]' on the server",
      });
    }),
  );
}

async function digestOf(content: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
