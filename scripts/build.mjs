// Builds the package: the SDK by tsc, file by file, and the command line by esbuild into few files that start fast.
//   node scripts/build.mjs         everything, from an empty dist
//   node scripts/build.mjs --cli   the command line alone, in a fraction of a second
import { spawnSync } from "node:child_process";
import { chmod, rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = fileURLToPath(new URL("../dist", import.meta.url));

/**
 * The command line as `lading.js` and the chunks that its verbs load. Dependencies are bundled: resolving and reading
 * commander's nine files costs more than running them.
 */
export async function buildCli(outdir = `${dist}/bin`) {
  // Beside its place, so that a build that fails leaves what was there.
  const fresh = `${outdir}.new`;
  await rm(fresh, { recursive: true, force: true });
  const result = await build({
    absWorkingDir: root,
    entryPoints: { lading: "src/cli/main.ts" },
    outdir: fresh,
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
    // Some dependencies are CommonJS and require the modules of Node.
    banner: {
      js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
    },
    metafile: true,
    logLevel: "warning",
  });
  await chmod(`${fresh}/lading.js`, 0o755);
  await rm(outdir, { recursive: true, force: true });
  await rename(fresh, outdir);
  return result.metafile;
}

function buildSdk() {
  const compiler = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
  const { status } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) throw new Error("the SDK does not compile");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!process.argv.includes("--cli")) {
    await rm(dist, { recursive: true, force: true });
    buildSdk();
  }
  const { outputs } = await buildCli();
  const bytes = Object.values(outputs).reduce((sum, output) => sum + output.bytes, 0);
  console.log(`dist/bin: ${Object.keys(outputs).length} files, ${Math.round(bytes / 1000)} kB`);
}
