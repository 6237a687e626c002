import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { defineConfig, type Plugin } from "vitest/config";

/** ONNX Runtime's own files: megabytes that the page keeps itself, of one engine alone. */
const ENGINE = /ort-wasm/;
const PUBLIC = fileURLToPath(new URL("public", import.meta.url));

/** Write the list of the page's files, and a hash of their contents, into the service worker. */
function listFiles(): Plugin {
  return {
    name: "list-files",
    enforce: "post",
    generateBundle(_options, bundle) {
      const files: Record<string, string | Uint8Array> = {};
      for (const [name, file] of Object.entries(bundle)) {
        files[name] = file.type === "chunk" ? file.code : file.source;
      }
      for (const name of readdirSync(PUBLIC)) files[name] = readFileSync(`${PUBLIC}/${name}`);
      const names = Object.keys(files).filter((name) => name !== "sw.js" && !ENGINE.test(name));
      names.sort();
      const hash = createHash("sha256");
      for (const name of names) hash.update(name).update("\0").update(files[name]);
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") throw new Error("the build made no service worker");
      const paths = ["./", ...names.filter((name) => name !== "index.html")];
      worker.code = worker.code
        .replace("__PAGE_FILES__", JSON.stringify(paths))
        .replace("__PAGE_VERSION__", JSON.stringify(hash.digest("hex").slice(0, 16)));
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [listFiles()],
  define: { __KEPT__: JSON.stringify("elir-edge-files") },
  // ONNX Runtime's variant that loads its WebAssembly from where it is told (`engine.ts`).
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"] },
  worker: { format: "es" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "index.html", sw: "src/sw.ts" },
      output: {
        entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  server: {
    fs: { allow: [fileURLToPath(new URL("../..", import.meta.url))] }, // the docs' pictures
    headers: {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    },
  },
  test: { include: ["test/**/*.test.ts"] },
});
