// `npm run test:soak`: pushes, pulls, removes and kills between Docker, the store and two registries, with faults on the way,
// and holds everything that it sees to the promises N1-N9.
//   npm run test:soak                                  an hour
//   npm run test:soak -- --minutes 3 --seed 7          shorter; the same seed makes the same choices
//   npm run test:soak -- --operations 60 --seed 7      until so many operations are done
// The soak itself is test/soak/main.ts. It shares the tests' engines and registries, and is bundled to run on any Node.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepare, root } from "./prepare.mjs";

prepare();
const { build } = await import("esbuild");
const cache = join(root, "node_modules", ".cache");
await mkdir(cache, { recursive: true });
const folder = await mkdtemp(join(cache, "lading-soak-"));
try {
  const entryPoints = { main: join(root, "test", "soak", "main.ts") };
  const options = { bundle: true, format: "esm", platform: "node", packages: "external", sourcemap: "inline" };
  await build({ entryPoints, outdir: folder, outExtension: { ".js": ".mjs" }, logLevel: "warning", ...options });
  const { main } = await import(pathToFileURL(join(folder, "main.mjs")).href);
  process.exitCode = await main(process.argv.slice(2), root);
} finally {
  await rm(folder, { recursive: true, force: true });
}
