import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** Path of the built `lading.js`. */
    program: string;
  }
}

/**
 * Vitest's global set-up: the tests of this folder run what is built, so it is built first, into a folder of this run.
 * Below node_modules, where the program finds what it does not bundle.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cache = fileURLToPath(new URL("../../node_modules/.cache", import.meta.url));
  await mkdir(cache, { recursive: true });
  const directory = await mkdtemp(join(cache, "lading-cli-"));
  // A plain script, which brings no types of its own.
  const script = new URL("../../scripts/build.mjs", import.meta.url).href;
  const { buildCli } = (await import(script)) as { buildCli: (outdir: string) => Promise<unknown> };
  await buildCli(join(directory, "bin"));
  project.provide("program", join(directory, "bin", "lading.js"));
  return async () => await rm(directory, { recursive: true, force: true });
}
