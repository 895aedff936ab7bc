import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { LayoutStore } from "../../src/content/layout.js";
import { filesBelow } from "./stored-blobs.js";

export interface LeftBehind {
  /** Downloads that wait to go on, as a store keeps them. */
  readonly partials: readonly string[];
  /** Temporary files, uploads, locks, and states of downloads that are not there. */
  readonly other: readonly string[];
}

/** Where stores and registries (ours, Debian's) put what is not finished. */
const unfinished = /(?:^|\/)(?:\.lading\/(?:partial|uploads)|tmp|_uploads)\/|(?:^|\/)[^/]*\.lock[^/]*$/;
const partial = /(?:^|\/)\.lading\/partial\/(?:sha256|sha512)-[0-9a-f]+\.[0-9a-z]+$/;

/** N5: what a folder holds beside finished content. */
export async function leftBehind(folder: string): Promise<LeftBehind> {
  const files = (await filesBelow(folder)).filter((file) => unfinished.test(file));
  const partials = files.filter((file) => partial.test(file));
  const states = new Set(partials.map((file) => `${file}.json`));
  return { partials, other: files.filter((file) => !partial.test(file) && !states.has(file)) };
}

/** Lets all that a store has not finished be eight days old, and the store be opened for a change: it sweeps then. */
export async function sweptAfterAWeek(store: string): Promise<void> {
  const old = Date.now() / 1000 - 8 * 24 * 3600;
  for (const file of await filesBelow(store)) {
    if (unfinished.test(file)) await utimes(join(store, file), old, old);
  }
  await new LayoutStore(store, { durability: "fast" }).exclusively(undefined, async () => {});
}
