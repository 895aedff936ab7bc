/** Under this name a chunk carries what takes it back. A part of the chunk does not: `subarray` makes an object of its own. */
const owner = Symbol("lading.owner");

interface LentChunk extends Uint8Array {
  [owner]?: (() => void) | undefined;
}

/**
 * Memory of one size that is filled again once it is given back, so that a stream of gigabytes leaves no garbage of gigabytes. What
 * nobody gives back is the reader's for ever.
 */
export class ChunkMemory {
  readonly #size: number;
  readonly #shared: boolean;
  readonly #free: Buffer[] = [];

  /** @param size Bytes of a chunk. @param options `shared`: other threads may read what is in it. */
  constructor(size: number, { shared = false }: { readonly shared?: boolean } = {}) {
    this.#size = size;
    this.#shared = shared;
  }

  take(): Buffer {
    const left = this.#free.pop();
    if (left !== undefined) return left;
    return this.#shared ? Buffer.from(new SharedArrayBuffer(this.#size)) : Buffer.allocUnsafeSlow(this.#size);
  }

  putBack(memory: Buffer): void {
    this.#free.push(memory);
  }

  /** The first bytes of some memory, as a chunk that may be given back. */
  lend(memory: Buffer, length: number): Uint8Array {
    return lend(memory.subarray(0, length), () => this.putBack(memory));
  }
}

/** Marks a chunk as one whose memory its maker would like to have again. */
export function lend(chunk: LentChunk, takeBack: () => void): Uint8Array {
  chunk[owner] = takeBack;
  return chunk;
}

/** Whether a chunk stays as it is until it is given back, however many come after it. */
export function isLent(chunk: LentChunk): boolean {
  return chunk[owner] !== undefined;
}

/**
 * Says that nobody will look at a chunk any more: only for whoever is the last to hold it, and has not passed it on or kept a part. Does
 * nothing for a chunk that is not lent.
 */
export function giveBack(chunk: LentChunk): void {
  const takeBack = chunk[owner];
  if (takeBack === undefined) return;
  chunk[owner] = undefined;
  takeBack();
}
