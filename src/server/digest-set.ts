import { createHash } from "node:crypto";
import { type Digest, digestHex } from "../oci/digest.js";

const width = 32;

/**
 * A set of very many digests in 32 bytes each: a million take 64 MB at most, where a set of strings takes several
 * times that. A longer digest is known by its hash.
 */
export class DigestSet {
  #slots = Buffer.alloc(1024 * width);
  #used = new Uint8Array(1024);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(digest: Digest): void {
    if ((this.#size + 1) * 2 > this.#used.length) this.#grow();
    this.#insert(keyOf(digest));
  }

  has(digest: Digest): boolean {
    const key = keyOf(digest);
    return this.#used[this.#find(key)] === 1;
  }

  #insert(key: Buffer): void {
    const slot = this.#find(key);
    if (this.#used[slot] === 1) return;
    this.#used[slot] = 1;
    key.copy(this.#slots, slot * width);
    this.#size++;
  }

  /** Where a key is, or belongs. Digests are random already, so that their first bytes are as good as a hash. */
  #find(key: Buffer): number {
    const mask = this.#used.length - 1;
    let slot = key.readUInt32BE(0) & mask;
    while (this.#used[slot] === 1 && key.compare(this.#slots, slot * width, (slot + 1) * width) !== 0) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(): void {
    const [slots, used] = [this.#slots, this.#used];
    this.#slots = Buffer.alloc(slots.length * 2);
    this.#used = new Uint8Array(used.length * 2);
    this.#size = 0;
    for (let slot = 0; slot < used.length; slot++) {
      if (used[slot] === 1) this.#insert(slots.subarray(slot * width, (slot + 1) * width));
    }
  }
}

function keyOf(digest: Digest): Buffer {
  const bytes = Buffer.from(digestHex(digest), "hex");
  return bytes.length === width ? bytes : createHash("sha256").update(bytes).digest();
}
