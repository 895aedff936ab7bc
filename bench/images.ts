import { existsSync } from "node:fs";
import type { ImageRecipe } from "./image-shelf.js";
import type { LayerMix } from "./layer-tar.js";

const [megabyte, gigabyte] = [1e6, 1e9];

/** As a distribution's base: mostly programs and libraries. */
const base: LayerMix = { binary: 0.5, text: 0.47, packed: 0.03 };
/** As an interpreter's packages. */
const packages: LayerMix = { small: 0.82, binary: 0.15, packed: 0.03 };
/** As models, pictures and archives. */
const assets: LayerMix = { packed: 0.6, text: 0.4 };
/** As sources. */
const sources: LayerMix = { text: 0.9, small: 0.1 };

/** Four layers of all kinds of content, so mixed that gzip gets about 0.37. */
export function mixedImage(bytes: number): ImageRecipe {
  const layer = (part: number, mix: LayerMix) => ({ size: Math.floor(bytes * part), mix });
  const layers = [layer(0.4, base), layer(0.3, packages), layer(0.05, assets), layer(0.25, sources)];
  return { name: `mixed-${bytes / megabyte}M`, layers };
}

/** The image of most rows. */
export const mixed = (quick: boolean): ImageRecipe => mixedImage(quick ? 24 * megabyte : 2.16 * gigabyte);

/** Layers of some kilobytes: what counts is the round trips. */
export function tiny(quick: boolean): ImageRecipe {
  const count = quick ? 12 : 120;
  return { name: `tiny-${count}`, layers: Array.from({ length: count }, () => ({ size: 3000, mix: { text: 1 } })) };
}

/** So many layers of one size each. */
export function layered(count: number): ImageRecipe {
  return { name: `layered-${count}`, layers: Array.from({ length: count }, () => ({ size: 1_000_000, mix: base })) };
}

/** Bytes that move as they are, in four layers: what counts is the memory. */
export function bulky(bytes: number): ImageRecipe {
  const layer = { size: bytes / 4, mix: { packed: 1 } };
  return { name: `bulky-${bytes / megabyte}M`, layers: [layer, layer, layer, layer], level: 0 };
}

export const large = (quick: boolean): ImageRecipe => bulky(quick ? 64 * megabyte : 10 * gigabyte);

/** Real files of this machine. */
export function real(quick: boolean): ImageRecipe {
  const folders = quick ? ["/usr/sbin"] : ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/share"];
  const present = folders.filter((folder) => existsSync(folder));
  return { name: quick ? "usr-part" : "usr", layers: present.map((folder) => ({ folders: [folder] })) };
}
