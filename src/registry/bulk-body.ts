import type { Socket } from "node:net";
import { type ChunkMemory, lend } from "../content/lent-chunk.js";

/** With less room left than this, in bytes, a buffer counts as full: small reads cost as much as large ones. */
const leastRoom = 64 * 1024;
/** Full buffers that may wait for a slow reader before the connection has to wait too. */
const mostWaiting = 2;
/** A reader gets what there is after so many ms, also where the buffer is not full. */
const patience = 20;

/** Where what comes after the end goes. */
const nowhere = Buffer.alloc(leastRoom);

/** Memory that is filled from its beginning, and goes back once it is full and nobody reads in it any more. */
interface Buffering {
  readonly memory: Buffer;
  filled: number;
  /** Chunks of it that readers have. */
  lent: number;
  full: boolean;
}

/**
 * The body of one answer, which the system writes right into large buffers: Node's own parser allocates each 64 KiB anew, and takes
 * twice the time for it. The socket asks {@link BulkBody.room} where its next bytes shall go, and reports them to {@link BulkBody.take}.
 */
export class BulkBody implements AsyncIterableIterator<Uint8Array> {
  readonly #memory: ChunkMemory;
  readonly #failure: (error: unknown) => unknown;
  readonly #socket: () => Socket;
  readonly #chunks: Uint8Array[] = [];
  #buffer: Buffering;
  /** Where in the buffer what nobody has been given begins. */
  #start = 0;
  /** Bytes that are still to come. */
  #left = 0;
  #state: "open" | "ended" | { readonly error: unknown } = "open";
  #timer: NodeJS.Timeout | null = null;
  /** Wakes the reader that waits. */
  #wake: (() => void) | null = null;
  #paused = false;

  /** @param failure What an error of the connection means. */
  constructor(memory: ChunkMemory, socket: () => Socket, failure: (error: unknown) => unknown) {
    this.#memory = memory;
    this.#socket = socket;
    this.#failure = failure;
    this.#buffer = this.#fresh();
  }

  /** Whether the connection waits for the reader. */
  get isHeldUp(): boolean {
    return this.#paused || this.#chunks.length > 0 || this.#state !== "open";
  }

  /** What has come before the body began: the head, and perhaps the body's first bytes. */
  get received(): Buffer {
    return this.#buffer.memory.subarray(0, this.#buffer.filled);
  }

  /** Where the next bytes shall go. */
  room(): Buffer {
    return this.#state === "open" ? this.#buffer.memory.subarray(this.#buffer.filled) : nowhere;
  }

  /** So many bytes more are in the buffer; nothing is known of them yet. */
  note(bytes: number): void {
    this.#buffer.filled += bytes;
  }

  /** The head is read: from `start` on all is body, of `length` bytes. @returns as {@link BulkBody.take} */
  begin(start: number, length: number): boolean {
    this.#start = start;
    this.#left = length;
    const early = this.#buffer.filled - start;
    this.#buffer.filled = start;
    return this.take(early);
  }

  /** So many bytes more of the body are in the buffer. @returns false where the connection is to wait */
  take(bytes: number): boolean {
    if (this.#state !== "open") return false;
    const own = Math.min(bytes, this.#left);
    this.#buffer.filled += own;
    this.#left -= own;
    if (this.#left === 0) {
      this.#handOut();
      this.#end("ended");
      return false;
    }
    if (this.#buffer.memory.length - this.#buffer.filled < leastRoom) {
      this.#handOut();
      this.#buffer.full = true;
      this.#release(this.#buffer);
      this.#buffer = this.#fresh();
      this.#start = 0;
    } else if (this.#wake !== null && this.#timer === null) {
      this.#timer = setTimeout(() => this.#handOut(), patience);
    }
    this.#paused = this.#chunks.length >= mostWaiting;
    return !this.#paused;
  }

  /** The connection is no more; nothing where the body was whole by then. */
  break(cause: unknown): void {
    if (this.#state !== "open") return;
    // What had arrived before the cut is given out first, and need not come again.
    this.#handOut();
    this.#end({ error: this.#failure(cause) });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        if (this.#paused && this.#chunks.length < mostWaiting) {
          this.#paused = false;
          this.#socket().resume();
        }
        return { done: false, value: chunk };
      }
      if (this.#state === "ended") return { done: true, value: undefined };
      if (typeof this.#state === "object") throw this.#state.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (this.#buffer.filled > this.#start) this.#timer ??= setTimeout(() => this.#handOut(), patience);
      });
      this.#wake = null;
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#chunks.length = 0;
    this.#end("ended");
    return { done: true, value: undefined };
  }

  #fresh(): Buffering {
    return { memory: this.#memory.take(), filled: 0, lent: 0, full: false };
  }

  #handOut(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const buffer = this.#buffer;
    if (buffer.filled === this.#start) return;
    const chunk = buffer.memory.subarray(this.#start, buffer.filled);
    this.#start = buffer.filled;
    buffer.lent += 1;
    this.#chunks.push(
      lend(chunk, () => {
        buffer.lent -= 1;
        this.#release(buffer);
      }),
    );
    this.#wake?.();
  }

  #release(buffer: Buffering): void {
    if (buffer.full && buffer.lent === 0) this.#memory.putBack(buffer.memory);
  }

  #end(state: "ended" | { readonly error: unknown }): void {
    if (this.#state !== "open") return;
    this.#state = state;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#socket().destroy();
    // The buffer does not go back: nobody can say for sure that the system writes nothing into it any more.
    this.#wake?.();
  }
}
