import { fileURLToPath } from "node:url";

/** The program under test, as it is shipped. */
export const program = fileURLToPath(new URL("../../dist/bin/lading.js", import.meta.url));

/** Vitest's global set-up: the tests of this folder run what is built, so it is built first. */
export async function setup(): Promise<void> {
  // A plain script, which brings no types of its own.
  const script = new URL("../../scripts/build.mjs", import.meta.url).href;
  const { buildCli } = (await import(script)) as { buildCli: () => Promise<unknown> };
  await buildCli();
}
