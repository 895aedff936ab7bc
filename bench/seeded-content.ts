import { createCipheriv, createHash } from "node:crypto";

/** Kinds of content, as images hold them. */
export type ContentKind = "text" | "binary" | "packed";

const blockSize = 1024 * 1024;

/** Bytes that a seed decides: what random numbers and content are drawn from. */
class RandomBytes {
  readonly #cipher;
  readonly #zeros = Buffer.alloc(blockSize);
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(seed: string) {
    this.#cipher = createCipheriv(
      "aes-128-ctr",
      createHash("sha256").update(seed).digest().subarray(0, 16),
      Buffer.alloc(16),
    );
  }

  next(): number {
    if (this.#at >= this.#block.length) {
      this.#block = this.#cipher.update(this.#zeros);
      this.#at = 0;
    }
    return this.#block[this.#at++] ?? 0;
  }

  block(size: number): Buffer {
    return this.#cipher.update(this.#zeros.subarray(0, size));
  }
}

/** Writes content of all kinds, the same for the same seed on every machine. */
export class SeededContent {
  readonly #random: RandomBytes;
  readonly #words: readonly Buffer[];
  readonly #codes: readonly Buffer[];

  constructor(seed: string) {
    this.#random = new RandomBytes(seed);
    this.#words = Array.from({ length: 4096 }, () => this.#word());
    this.#codes = Array.from({ length: 256 }, () => Buffer.from(this.#random.block(3 + (this.#random.next() & 7))));
  }

  /** A number below `bound`, at most 65536. */
  below(bound: number): number {
    return ((this.#random.next() << 8) | this.#random.next()) % bound;
  }

  /** At most one MiB. */
  chunk(kind: ContentKind, size: number): Buffer {
    if (kind === "packed") return this.#random.block(size);
    const pieces = kind === "text" ? this.#words : this.#codes;
    const chunk = Buffer.allocUnsafe(size);
    for (let at = 0; at < size; ) {
      // Some pieces are much more frequent than others, as words and instructions are.
      const range = this.#random.next() < 184 ? pieces.length >> 5 : pieces.length;
      const piece = pieces[this.below(range)] ?? chunk;
      for (let from = 0; from < piece.length && at < size; from += 1) chunk[at++] = piece[from] ?? 0;
      // Operands, which repeat nothing.
      if (kind === "binary" && at < size) chunk[at++] = this.#random.next();
    }
    return chunk;
  }

  #word(): Buffer {
    const letters = "etaoinshrdlucmfwypvbgkjqxz";
    const length = 2 + (this.#random.next() % 9);
    const pick = () => letters[Math.min(this.#random.next() % 26, this.#random.next() % 26)];
    return Buffer.from(`${Array.from({ length }, pick).join("")}${this.#random.next() < 20 ? "\n" : " "}`);
  }
}
