/** A write that somebody began, and perhaps was told the end of. */
interface Write<V> {
  readonly value: V;
  readonly start: number;
  /** Null while it runs. */
  end: number | null;
  /** Whether somebody was told that it is done. One that was not may have happened or not. */
  acknowledged: boolean;
  /** Only takes this value away, and leaves any other. */
  readonly onlyFrom: V | null;
}

/** One thing that can be written by many at once: knows which values it may have when all is at rest. */
export class Cell<V> {
  #writes: Write<V>[];

  constructor(initial: V) {
    this.#writes = [{ value: initial, start: -1, end: -1, acknowledged: true, onlyFrom: null }];
  }

  begin(value: V, time: number, onlyFrom: V | null = null): Write<V> {
    const write: Write<V> = { value, start: time, end: null, acknowledged: false, onlyFrom };
    this.#writes.push(write);
    return write;
  }

  /** Those that run end here without anybody having been told. */
  cut(time: number): void {
    for (const write of this.#writes) write.end ??= time;
  }

  /** The values that it may have, all writes having ended. */
  candidates(): ReadonlySet<V> {
    const strong = this.#writes.filter(({ onlyFrom }) => onlyFrom === null);
    const weak = this.#writes.filter(({ onlyFrom }) => onlyFrom !== null);
    const over = (write: Write<V>, later: Write<V>): boolean =>
      later !== write && later.acknowledged && write.end !== null && later.start > write.end;
    const left = strong.filter((write) => !strong.some((later) => over(write, later)));
    const values = left.filter((write) => !weak.some((later) => later.onlyFrom === write.value && over(write, later)));
    const taken = weak.filter((write) =>
      left.some(({ value, start }) => value === write.onlyFrom && (write.end === null || start < write.end)),
    );
    return new Set([...values, ...taken].map(({ value }) => value));
  }

  /** It is at rest and was seen to have this value: nothing else matters any more. */
  settle(value: V, time: number): void {
    this.#writes = [{ value, start: time, end: time, acknowledged: true, onlyFrom: null }];
  }

  /** It is at rest and was seen to have this value; but a write that nobody was told the end of may still show later. */
  settleForNow(value: V, time: number): void {
    const possible = this.candidates();
    const doubtful = this.#writes.filter(
      (write) => !write.acknowledged && write.value !== value && possible.has(write.value),
    );
    // begun before all of them, so that it is not taken for what undid them
    this.#writes = [{ value, start: -1, end: time, acknowledged: true, onlyFrom: null }, ...doubtful];
  }
}
