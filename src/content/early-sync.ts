import type { FileHandle } from "node:fs/promises";

/** Bytes after which the disk is set to work, so that little is left to wait for at the end. */
const every = 64 * 1024 * 1024;

/** One at a time in a process: each takes one of the few threads that read and write files. */
let running = false;

/** Begins to make a file durable while it is still being written. That it is durable in the end is for the caller's own sync to say. */
export class EarlySync {
  readonly #handle: FileHandle;
  #unsynced = 0;
  #syncing: Promise<void> | null = null;
  #failure: { readonly error: unknown } | null = null;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** So many bytes more are written. */
  wrote(bytes: number): void {
    this.#unsynced += bytes;
    if (this.#unsynced >= every && !running) this.#syncing = this.#sync();
  }

  /** To be awaited before the file is closed. @throws what the system said: it reports a failure to write back once */
  async settled(): Promise<void> {
    await this.#syncing;
    if (this.#failure !== null) throw this.#failure.error;
  }

  async #sync(): Promise<void> {
    running = true;
    this.#unsynced = 0;
    try {
      await this.#handle.datasync();
    } catch (error) {
      this.#failure = { error };
    } finally {
      running = false;
    }
  }
}
