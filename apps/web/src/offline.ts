/** Keeps all that the page needs, so that it works without a connection. */

import { addressOf, indexOf, type Served } from "./bundles";
import { type EngineKind, filesOf } from "./engine";
import { keep, keepOnly } from "./kept";

/** Install the service worker; where the browser has none, the page works with a connection. */
export async function installServiceWorker(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("./sw.js");
}

/**
 * Keep the engine's files, the bundles, and the networks that find faces.
 *
 * @returns whether the page works offline from now on.
 */
export async function keepForOffline(served: Served, kind: EngineKind): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  const { saveData } = (navigator as { connection?: { saveData?: boolean } }).connection ?? {};
  if (saveData) return false;
  const { bundles, networks } = served;
  const files = bundles.flatMap((bundle) => {
    const { artifact, selfTest } = bundle.manifest;
    return [artifact, selfTest.input, selfTest.expected].map((file) => addressOf(bundle, file));
  });
  if (typeof networks !== "string") {
    files.push(...networks.files.map((file) => addressOf(networks, file)));
  }
  const wanted = [...filesOf(kind), ...files];
  for (const url of wanted) await keep(url);
  const manifests = bundles.map(({ folder }) => `${folder}manifest.json`);
  const index = indexOf(document.baseURI);
  await keepOnly([index, ...manifests, ...files, ...filesOf("webgpu"), ...filesOf("wasm")]);
  await navigator.serviceWorker.ready;
  return (await caches.match(filesOf(kind)[0])) !== undefined;
}
