// Builds the package: the SDK by tsc, file by file, and the command line by esbuild into few files that start fast.
//   node scripts/build.mjs         everything, from nothing
//   node scripts/build.mjs --cli   the command line alone, in a fraction of a second
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";
import { bundleLayers } from "./bundle-layers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = fileURLToPath(new URL("../dist", import.meta.url));

/** Commander can run verbs that are programs of their own. Lading has none, and to load what runs them takes 3 ms. */
const commanderWithoutPrograms = {
  name: "commander-without-programs",
  setup(build) {
    build.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      /[\\/]commander[\\/]/.test(importer) ? { path: "child_process", namespace: "nothing" } : null,
    );
    build.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({ contents: "module.exports = {};" }));
  },
};

/** Stands at the top of every file: a module of Node is loaded when something of it is used, and most runs use few. */
const lazyBuiltin =
  'const builtin=id=>new Proxy({},{get(_,key){const it=process.getBuiltinModule(id);return key==="default"?it:it[key]}});';

/**
 * A file as CommonJS, which starts without Node's loader of modules: to resolve, link and run the same files as ES modules takes
 * twice the time. esbuild shares code between files in ES modules alone, so that this is a step of its own.
 */
async function asCommonJs(code) {
  const result = await transform(code, {
    format: "cjs",
    platform: "node",
    target: "node20.19",
    supported: { "dynamic-import": false },
    define: { "import.meta.url": "__filename" },
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: "warning",
  });
  // What esbuild makes of an import, and nothing that stands in a string.
  const imported = /\b(import_node_\w+)=(?:__toESM\(require\(("node:\w[^"]*")\)(?:,1)?\)|require\(("node:\w[^"]*")\))/g;
  const body = result.code.replaceAll(imported, (_, name, whole, part) => `${name}=builtin(${whole ?? part})`);
  return `"use strict";${body.includes("builtin(") ? lazyBuiltin : ""}${body}`;
}

/**
 * The command line: `lading.js`, which loads `main.js`, and the files that its verbs load. Dependencies are bundled: to find and read
 * commander's nine files costs more than to run them.
 */
export async function buildCli(outdir) {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: { main: "src/cli/main.ts" },
    outdir,
    chunkNames: "[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    // Names stay, so that a stack trace under --debug can be read.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    plugins: [bundleLayers(join(root, "src")), commanderWithoutPrograms],
    metafile: true,
    write: false,
    logLevel: "warning",
  });
  await mkdir(outdir, { recursive: true });
  const digest = createHash("sha256");
  for (const { path, text } of outputFiles) {
    const code = await asCommonJs(text);
    digest.update(code);
    await writeFile(path, code);
  }
  await build({
    absWorkingDir: root,
    entryPoints: { lading: "src/cli/launch.ts" },
    outdir,
    format: "cjs",
    platform: "node",
    target: "node20.19",
    define: { build: JSON.stringify(digest.digest("hex").slice(0, 16)) },
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: "warning",
  });
  await writeFile(`${outdir}/package.json`, '{"type":"commonjs"}\n');
  await chmod(`${outdir}/lading.js`, 0o755);
  return metafile;
}

function buildSdk(outdir) {
  const compiler = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
  const args = [compiler, "-p", "tsconfig.build.json", "--outDir", outdir];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error("the SDK does not compile");
}

/** Builds beside the place and moves there at the end: a build that fails, and one that runs, leave what was there. */
async function replace(place, make) {
  const fresh = `${place}.${process.pid}.new`;
  try {
    await make(fresh);
    await rm(place, { recursive: true, force: true });
    await rename(fresh, place);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const report = ({ outputs }) => {
    const bytes = Object.values(outputs).reduce((sum, output) => sum + output.bytes, 0);
    console.log(`dist/bin: ${Object.keys(outputs).length} files, ${Math.round(bytes / 1000)} kB`);
  };
  if (process.argv.includes("--cli")) {
    await replace(`${dist}/bin`, async (fresh) => report(await buildCli(fresh)));
  } else {
    await replace(dist, async (fresh) => {
      buildSdk(fresh);
      report(await buildCli(`${fresh}/bin`));
    });
  }
}
