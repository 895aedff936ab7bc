import { tarHeader } from "../test/support/tar-bytes.js";
import { type ContentKind, SeededContent } from "./seeded-content.js";

/** How much of a layer is what, in parts of one; `small` are many small files of text. */
export type LayerMix = Readonly<Partial<Record<ContentKind | "small", number>>>;

const blockSize = 512;
const chunkSize = 1024 * 1024;

/** A layer's tar with about `size` bytes of seeded files. */
export function* layerTar(seed: string, size: number, mix: LayerMix): Generator<Buffer> {
  const content = new SeededContent(seed);
  yield tarHeader("data/", 0, "5");
  let number = 0;
  for (const [kind, part] of Object.entries(mix) as [ContentKind | "small", number][]) {
    for (let left = Math.floor(size * part); left > 0; ) {
      const bytes = Math.min(left, fileSize(content, kind));
      left -= bytes;
      yield tarHeader(`data/${String(number++).padStart(7, "0")}.${kind}`, bytes, "0");
      for (let rest = bytes; rest > 0; rest -= chunkSize) {
        yield content.chunk(kind === "small" ? "text" : kind, Math.min(rest, chunkSize));
      }
      yield Buffer.alloc((blockSize - (bytes % blockSize)) % blockSize);
    }
  }
  yield Buffer.alloc(2 * blockSize);
}

function fileSize(content: SeededContent, kind: ContentKind | "small"): number {
  return kind === "small" ? 200 + content.below(8000) : 20_000 + content.below(64) * content.below(64) * 4096;
}
