// Builds the package: the SDK by tsc, file by file, and the command line by esbuild into few files that start fast.
//   node scripts/build.mjs         everything, from nothing
//   node scripts/build.mjs --cli   the command line alone, in a fraction of a second
import { spawnSync } from "node:child_process";
import { chmod, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
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

/**
 * What a module of Node is imported for is taken from it, and not from what an `import` of it makes: that reads all that it
 * exports at once, and `crypto`, for one, then loads what nobody has asked for.
 */
const builtinsWithoutFacade = {
  name: "builtins-without-facade",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === "import-statement" ? { path, namespace: "builtin" } : null,
    );
    build.onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

/**
 * The command line as `lading.js` and the chunks that its verbs load. Dependencies are bundled: to find and read
 * commander's nine files costs more than to run them.
 */
export async function buildCli(outdir) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: { lading: "src/cli/main.ts" },
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
    plugins: [bundleLayers(join(root, "src")), commanderWithoutPrograms, builtinsWithoutFacade],
    // Some dependencies are CommonJS and require the modules of Node, and nothing else.
    banner: { js: "const require=process.getBuiltinModule;" },
    metafile: true,
    logLevel: "warning",
  });
  await chmod(`${outdir}/lading.js`, 0o755);
  return result.metafile;
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
