import type { Ledger } from "./ledger.js";
import type { Place } from "./place.js";

/** Tags that several write at once: which images each may hold. */
export class ContestedTags {
  readonly #image: string;
  readonly #places: Readonly<Record<string, Place>>;
  readonly #ledger: Ledger;
  readonly #possible = new Map<string, Set<string | null>>();
  readonly #writing = new Map<string, Set<{ readonly id: string | null; alone: boolean }>>();

  constructor(image: string, places: Readonly<Record<string, Place>>, ledger: Ledger) {
    this.#image = image;
    this.#places = places;
    this.#ledger = ledger;
  }

  /** Whether something was put there for certain. */
  exists(key: string): boolean {
    const possible = this.#possible.get(key);
    return possible !== undefined && !possible.has(null);
  }

  /** A write begins. @returns what says that it ended, and whether it was done */
  begin(key: string, id: string | null): (done: boolean) => void {
    const possible = this.#possible.get(key) ?? new Set<string | null>([null]);
    const writing = this.#writing.get(key) ?? new Set();
    this.#possible.set(key, possible.add(id));
    this.#writing.set(key, writing);
    for (const other of writing) other.alone = false;
    const own = { id, alone: writing.size === 0 };
    writing.add(own);
    return (done) => {
      writing.delete(own);
      if (!done) return;
      // Nothing is there no more; what was there before may be gone only where nobody else wrote meanwhile.
      possible.delete(null);
      if (own.alone) for (const other of possible) if (other !== id) possible.delete(other);
    };
  }

  /** What is there is whole, and something that was put there. */
  async look(place: string, tag: string): Promise<void> {
    const key = `${place}:${tag}`;
    // Before the look and after it: who writes meanwhile may win or not.
    const possible = new Set(this.#possible.get(key));
    const state = (await this.#places[place]?.read(`tester/${this.#image}`))?.get(tag) ?? null;
    for (const id of this.#possible.get(key) ?? []) possible.add(id);
    const broken = state?.broken ?? null;
    await this.#ledger.check("N2", broken === null ? null : `${place}/${this.#image}:${tag} is not whole: ${broken}`);
    const held = possible.has(state?.id ?? null);
    await this.#ledger.check(
      "N3",
      held ? null : `${place}/${this.#image}:${tag} is ${state?.id}, not one of ${[...possible].join(", ")}`,
    );
  }
}
