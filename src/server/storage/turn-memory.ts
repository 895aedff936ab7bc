/** Beyond so many things all is forgotten. */
const most = 10_000;

/**
 * What was read or written since this process has had the lock of a folder: until it gives it back nobody else changes
 * anything, so that nothing need be read twice. One task at a time changes a thing.
 */
export class TurnMemory<Value> {
  readonly #turn: () => object | null;
  readonly #changing = new Set<string>();
  #known = new Map<string, Promise<Value>>();
  #since: object | null = null;

  /** @param turn What the lock is held by, null where it is not; another one each time. */
  constructor(turn: () => object | null) {
    this.#turn = turn;
  }

  #now(): Map<string, Promise<Value>> | null {
    const turn = this.#turn();
    if (turn !== this.#since || this.#known.size > most) this.#known = new Map();
    this.#since = turn;
    return turn === null ? null : this.#known;
  }

  async read(key: string, look: () => Promise<Value>): Promise<Value> {
    const known = this.#now();
    // what is read while it changes may be what was before
    if (known === null || this.#changing.has(key)) return await look();
    const found = known.get(key);
    if (found !== undefined) return await found;
    const looking = look();
    known.set(key, looking);
    looking.catch(() => {
      if (known.get(key) === looking) known.delete(key);
    });
    return await looking;
  }

  /**
   * @param value What it is once `write` has succeeded.
   * @param write False where it changed nothing. Where it failed, the thing may be either.
   */
  async change<Result>(key: string, value: Value, write: () => Promise<Result>): Promise<Result> {
    const known = this.#now();
    known?.delete(key);
    this.#changing.add(key);
    try {
      const result = await write();
      if (result !== false && known !== null && known === this.#now()) known.set(key, Promise.resolve(value));
      return result;
    } finally {
      this.#changing.delete(key);
    }
  }
}
