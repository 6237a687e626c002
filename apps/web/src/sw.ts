/**
 * The service worker: the page's own files, kept at its installation, and whatever the page keeps
 * of engines and bundles (`kept.ts`). The build fills in the list and its hash.
 */

declare const __KEPT__: string;
declare const __PAGE_FILES__: string[];
declare const __PAGE_VERSION__: string;

/** The little of a service worker's global scope that is used: TypeScript's own excludes the DOM. */
interface Scope {
  location: Location;
  clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: LifeEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: RequestEvent) => void): void;
}
interface LifeEvent {
  waitUntil(work: Promise<unknown>): void;
}
interface RequestEvent {
  request: Request;
  respondWith(response: Promise<Response>): void;
}

const scope = self as unknown as Scope;
const PREFIX = "elir-edge-page-";
const PAGE = PREFIX + __PAGE_VERSION__;

scope.addEventListener("install", (event) => {
  const work = async (): Promise<void> => {
    const cache = await caches.open(PAGE);
    await cache.addAll(__PAGE_FILES__.map((path) => new Request(path, { cache: "reload" })));
    await scope.skipWaiting();
  };
  event.waitUntil(work());
});

scope.addEventListener("activate", (event) => {
  const work = async (): Promise<void> => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(PREFIX) && name !== PAGE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await scope.clients.claim();
  };
  event.waitUntil(work());
});

/** Return what the page is made of now; without a connection, what it was made of last. */
async function navigate(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await caches.match("./", { cacheName: PAGE });
    if (kept) return kept;
    throw error;
  }
}

async function fromCache(request: Request): Promise<Response> {
  const kept =
    (await caches.match(request, { cacheName: PAGE })) ??
    (await caches.match(request, { cacheName: __KEPT__ }));
  return kept ?? fetch(request);
}

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== scope.location.origin) return;
  if (request.mode === "navigate") event.respondWith(navigate(request));
  // Manifests and their list change under the same address: `kept.ts` fetches them itself.
  else if (!url.pathname.endsWith(".json")) event.respondWith(fromCache(request));
});

export {};
