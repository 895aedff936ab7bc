import { createHash } from "node:crypto";

/** Chances that a seed and a name decide; the same in every run. */
export class Dice {
  readonly #name: string;
  #throws = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** In [0, 1). */
  next(): number {
    const hash = createHash("sha256")
      .update(`${this.#name}/${this.#throws++}`)
      .digest();
    return hash.readUInt32BE() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** From `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new Error("nothing to choose from");
    return item;
  }

  /** By weight. */
  weighted<T>(items: readonly (readonly [weight: number, item: T])[]): T {
    let left = this.next() * items.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, item] of items) {
      left -= weight;
      if (left < 0) return item;
    }
    throw new Error("nothing to choose from");
  }

  /** Few large ones, many small ones. */
  size(smallest: number, largest: number): number {
    return Math.round(smallest * (largest / smallest) ** (this.next() ** 1.5));
  }
}
