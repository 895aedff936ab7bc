import { type ContentKind, SeededContent } from "./seeded-content.js";

/** How much of a layer is what, in parts of one; `small` are many small files of text. */
export type LayerMix = Readonly<Partial<Record<ContentKind | "small", number>>>;

const blockSize = 512;
const chunkSize = 1024 * 1024;

/** A layer's tar with about `size` bytes of seeded files. */
export function* layerTar(seed: string, size: number, mix: LayerMix): Generator<Buffer> {
  const content = new SeededContent(seed);
  yield header("data/", 0, "5");
  let number = 0;
  for (const [kind, part] of Object.entries(mix) as [ContentKind | "small", number][]) {
    for (let left = Math.floor(size * part); left > 0; ) {
      const bytes = Math.min(left, fileSize(content, kind));
      left -= bytes;
      yield header(`data/${String(number++).padStart(7, "0")}.${kind}`, bytes, "0");
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

function header(name: string, size: number, type: "0" | "5"): Buffer {
  const bytes = Buffer.alloc(blockSize);
  const octal = (value: number, at: number, length: number) =>
    bytes.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  bytes.write(name, 0, 100, "utf8");
  octal(type === "5" ? 0o755 : 0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  // More than 8 GiB would need base 256; files here are smaller.
  octal(size, 124, 12);
  octal(1_700_000_000, 136, 12);
  bytes.write("        ", 148, "latin1");
  bytes.write(type, 156, "latin1");
  bytes.write("ustar\x0000", 257, "latin1");
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
}
