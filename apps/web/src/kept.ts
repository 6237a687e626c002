/**
 * Files of the engine and of bundles, kept in the browser's cache so that the page works offline.
 * The page's own files are kept by the service worker (`sw.ts`).
 */

import { AppError } from "./errors";

/** The cache's name, from the build: the service worker shares it, and can import nothing. */
declare const __KEPT__: string;

type Loading = (loaded: number, total: number) => void;

/** Where a browser without secure contexts or with cookies switched off has none, all is fetched. */
async function openCache(): Promise<Cache | null> {
  if (typeof caches === "undefined") return null;
  try {
    return await caches.open(__KEPT__);
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

async function request(url: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new AppError(`${nameOf(url)} cannot be fetched`, {
      got: error instanceof Error ? error.message : String(error),
      fix: "is `elir-edge demo` still running?",
    });
  }
  if (!response.ok) {
    throw new AppError(`${nameOf(url)} cannot be fetched`, { got: `HTTP ${response.status}` });
  }
  return response;
}

function nameOf(url: string): string {
  return new URL(url).pathname.split("/").slice(-2).join("/");
}

/** Return the newest text at an address; without a connection, the text it last had. */
export async function fetchNewest(url: string): Promise<string> {
  const cache = await openCache();
  try {
    const response = await request(url);
    await put(cache, url, response.clone());
    return await response.text();
  } catch (error) {
    const kept = await cache?.match(url);
    if (kept) return kept.text();
    throw error;
  }
}

/**
 * Return what is at an address whose content never changes: fetched once, kept from then on.
 *
 * @param loading called with (bytes loaded, bytes in all) while it is fetched.
 */
export async function fetchOnce(url: string, loading?: Loading): Promise<ArrayBuffer> {
  const cache = await openCache();
  const kept = await cache?.match(url);
  if (kept) return kept.arrayBuffer();
  const response = await request(url);
  const content = await readAll(response, loading);
  await put(cache, url, new Response(content, { headers: response.headers }));
  return content;
}

/** Fetch and keep what is not kept yet. */
export async function keep(url: string): Promise<void> {
  const cache = await openCache();
  if (cache && !(await cache.match(url))) await put(cache, url, await request(url));
}

/** Drop what is kept but for these addresses: other versions of files take room. */
export async function keepOnly(urls: string[]): Promise<void> {
  const cache = await openCache();
  if (!cache) return;
  const wanted = new Set(urls);
  for (const { url } of await cache.keys()) {
    if (!wanted.has(url)) await cache.delete(url);
  }
}

async function put(cache: Cache | null, url: string, response: Response): Promise<void> {
  try {
    await cache?.put(url, response);
  } catch (error) {
    // A full disk or a private window: the page works, though not offline.
    if (!(error instanceof DOMException)) throw error;
  }
}

async function readAll(response: Response, loading?: Loading): Promise<ArrayBuffer> {
  const total = Number(response.headers.get("Content-Length") ?? 0);
  if (!response.body || !loading) return response.arrayBuffer();
  const parts: Uint8Array[] = [];
  let loaded = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    loading(loaded, Math.max(total, loaded));
  }
  const content = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    content.set(part, at);
    at += part.length;
  }
  return content.buffer;
}
