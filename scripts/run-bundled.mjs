import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepare, root } from "./prepare.mjs";

/**
 * Installs and builds what is missing, bundles a TypeScript program of the checkout to run on any Node, and runs its
 * `main(args, root)` in this process with this command's arguments; what that gives is the exit code.
 */
export async function runBundled(entry) {
  prepare();
  const { build } = await import("esbuild");
  const cache = join(root, "node_modules", ".cache");
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, "lading-run-"));
  try {
    const entryPoints = { main: join(root, entry) };
    const options = { bundle: true, format: "esm", platform: "node", packages: "external", sourcemap: "inline" };
    await build({ entryPoints, outdir: folder, outExtension: { ".js": ".mjs" }, logLevel: "warning", ...options });
    const { main } = await import(pathToFileURL(join(folder, "main.mjs")).href);
    process.exitCode = await main(process.argv.slice(2), root);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
