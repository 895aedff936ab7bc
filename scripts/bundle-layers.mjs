// Decides what of the command line shares a file. Left alone, esbuild makes a chunk of every set of modules that the same
// dynamic imports reach: `lading ls` then reads 44 files, and to find, read and link a module costs Node about half a
// millisecond. Modules that are always loaded together are put into layers instead, one file each.
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

/** From `src/`. A layer's file has these modules, and what they import statically, but what is in the layers below it. */
const layers = {
  // Every run but `--version`.
  start: ["cli/process", "cli/run", "cli/progress/none", "cli/progress/plain"],
  // Every verb that asks a registry, and those that do little else.
  client: [
    ...["client", "config/file", "config/credentials", "registry/client"],
    ...["operations/list", "operations/tags", "operations/size", "operations/inspect"],
    ...["list", "tags", "size", "digest", "info", "inspect"].map((verb) => `cli/commands/${verb}`),
  ],
  // The registry in process.
  registry: ["server/index", "server/hold"],
  // A push or a pull: the engine's kind, the store that holds what passes through.
  transfer: [
    ...["engines/detect", "engines/store", "content/layout", "operations/push", "operations/pull"],
    ...["push", "pull"].map((verb) => `cli/commands/${verb}`),
  ],
};

/** What is loaded before a layer. */
const layersBelow = { start: [], client: ["start"], registry: ["start", "client"], transfer: ["start", "client"] };

/** What is loaded without the client. */
const beforeClient = new Set(["cli/completion", "cli/commands/completion", "cli/progress/json", "cli/progress/tty"]);

/** An esbuild plugin. @param source The absolute path of `src/`. */
export function bundleLayers(source) {
  const layerOf = new Map();
  for (const [layer, modules] of Object.entries(layers)) for (const module of modules) layerOf.set(module, layer);
  const nameOf = (path) => path.slice(source.length + 1).replace(/\.[jt]s$/, "");
  const exportName = (module) => module.replaceAll(/\W/g, "_");
  const fileOf = (module) => JSON.stringify(`./${module}.js`);

  /** What is there already whenever a module is imported dynamically. */
  function below(module) {
    const layer = layerOf.get(module);
    if (layer !== undefined) return layersBelow[layer];
    return beforeClient.has(module) ? ["start"] : ["start", "client"];
  }

  return {
    name: "bundle-layers",
    setup(build) {
      build.onResolve({ filter: /^layer:/ }, ({ path }) => ({
        path: path.slice(6),
        namespace: "layer",
        sideEffects: true,
      }));
      build.onLoad({ filter: /.*/, namespace: "layer" }, ({ path }) => ({
        contents: [
          ...below(layers[path][0]).map((name) => `import "layer:${name}";`),
          ...layers[path].map((module) => `export * as ${exportName(module)} from ${fileOf(module)};`),
        ].join("\n"),
        resolveDir: source,
      }));
      // What is imported dynamically and is in no layer has a file of its own, above the layers.
      build.onResolve({ filter: /^\./, namespace: "file" }, ({ path, kind, resolveDir }) =>
        kind === "dynamic-import" ? { path: nameOf(resolve(resolveDir, path)), namespace: "entry" } : null,
      );
      build.onLoad({ filter: /.*/, namespace: "entry" }, ({ path }) => ({
        contents: [...below(path).map((name) => `import "layer:${name}";`), `export * from ${fileOf(path)};`].join(
          "\n",
        ),
        resolveDir: source,
      }));
      build.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, "utf8");
        const contents = text.replaceAll(/\bimport\(\s*"(\.[^"]+)"\s*\)/g, (found, specifier) => {
          const module = nameOf(join(dirname(path), specifier));
          const layer = layerOf.get(module);
          return layer === undefined ? found : `import("layer:${layer}").then((all) => all.${exportName(module)})`;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}
