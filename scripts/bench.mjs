// `npm run bench`: times Lading beside its peers, in one run, and keeps what was seen.
//   npm run bench                        every row
//   npm run bench -- --row P3 --row P1   these
//   npm run bench -- --quick             small images, one run each: checks that the bench runs, asserts no time
//   npm run bench -- --list              the rows
// The bench itself is bench/main.ts. It shares the tests' engines, certificates and programs, and is bundled to run on any Node.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepare, root } from "./prepare.mjs";

prepare();
const { build } = await import("esbuild");
const cache = join(root, "node_modules", ".cache");
await mkdir(cache, { recursive: true });
const folder = await mkdtemp(join(cache, "lading-bench-"));
try {
  const entryPoints = { main: join(root, "bench", "main.ts") };
  const options = { bundle: true, format: "esm", platform: "node", packages: "external", sourcemap: "inline" };
  await build({ entryPoints, outdir: folder, outExtension: { ".js": ".mjs" }, logLevel: "warning", ...options });
  const { main } = await import(pathToFileURL(join(folder, "main.mjs")).href);
  process.exitCode = await main(process.argv.slice(2), root);
} finally {
  await rm(folder, { recursive: true, force: true });
}
