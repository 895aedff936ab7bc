import { filesBelow } from "./stored-blobs.js";

export interface LeftBehind {
  /** Downloads that wait to go on, as a store keeps them. */
  readonly partials: readonly string[];
  /** Temporary files, uploads, locks, and states of downloads that are not there. */
  readonly other: readonly string[];
}

/** Where stores and registries (ours, Debian's) put what is not finished. */
const unfinished = /(?:^|\/)(?:\.lading\/partial|tmp|_uploads)\/|(?:^|\/)[^/]*\.lock[^/]*$/;
const partial = /(?:^|\/)\.lading\/partial\/(?:sha256|sha512)-[0-9a-f]+\.[0-9a-z]+$/;

/** N5: what a folder holds beside finished content. */
export async function leftBehind(folder: string): Promise<LeftBehind> {
  const files = (await filesBelow(folder)).filter((file) => unfinished.test(file));
  const partials = files.filter((file) => partial.test(file));
  const states = new Set(partials.map((file) => `${file}.json`));
  return { partials, other: files.filter((file) => !partial.test(file) && !states.has(file)) };
}
