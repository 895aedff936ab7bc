interface Failures {
  count: number;
  /** ms since the epoch. */
  last: number;
  until: number;
}

/** How many failures are free, and how long the next one may make wait at most, in ms. */
const bounds = {
  /** A whole office may stand behind one address, and so may somebody who guesses. */
  address: { free: 20, most: 15 * 60_000 },
  /** Somebody who guesses from many addresses. The wait is short, or anybody could lock anybody out. */
  account: { free: 10, most: 30_000 },
} as const;

/** Failures that are so old don't count, in ms. */
const forgotten = 60 * 60_000;
const mostKept = 10_000;

/** Slows down who guesses passwords: the wait doubles with each failure. In memory, each process for itself. */
export class LoginLimits {
  readonly #now: () => number;
  readonly #failures = new Map<string, Failures>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * How long to wait before the next try, in ms; 0 where there is no need.
   * @param account Null where none was named that there could be.
   */
  wait(address: string | null, account: string | null): number {
    const waits = keysOf(address, account).map(([key]) => (this.#failures.get(key)?.until ?? 0) - this.#now());
    return Math.max(0, ...waits);
  }

  failed(address: string | null, account: string | null): void {
    const now = this.#now();
    for (const [key, { free, most }] of keysOf(address, account)) {
      const before = this.#failures.get(key);
      const count = before === undefined || now - before.last > forgotten ? 1 : before.count + 1;
      const delay = count <= free ? 0 : Math.min(most, 1000 * 2 ** Math.min(20, count - free - 1));
      // at the end of the map, so that the first is the oldest
      this.#failures.delete(key);
      this.#failures.set(key, { count, last: now, until: now + delay });
    }
    for (const [key] of this.#failures) {
      if (this.#failures.size <= mostKept) break;
      this.#failures.delete(key);
    }
  }

  /** The account is known to be in the right hands; what its address did with others still counts. */
  succeeded(account: string): void {
    this.#failures.delete(`account ${account}`);
  }
}

function keysOf(address: string | null, account: string | null) {
  return [
    ...(account === null ? [] : [[`account ${account}`, bounds.account] as const]),
    ...(address === null ? [] : [[`address ${networkOf(address)}`, bounds.address] as const]),
  ];
}

/** Whoever has one IPv6 address has the 2^64 of its network: they count as one. */
function networkOf(address: string): string {
  const plain = address.replace(/%.*$/, "");
  if (!plain.includes(":") || plain.includes(".")) return plain;
  const [head = "", tail] = plain.split("::");
  const [before, after] = [head, tail ?? ""].map((half) => half.split(":").filter((group) => group !== ""));
  const zeros = tail === undefined ? 0 : 8 - (before?.length ?? 0) - (after?.length ?? 0);
  return [...(before ?? []), ...Array<string>(Math.max(0, zeros)).fill("0"), ...(after ?? [])].slice(0, 4).join(":");
}
