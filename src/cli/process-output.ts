import { fstatSync, writeSync } from "node:fs";
import type { WriteStream } from "node:tty";
import type { OutputStream } from "./io.js";

/**
 * stdout or stderr. Node's own stream is made for a terminal alone: to make one takes longer than to parse the command line. Files and
 * pipes are written to without it, in step with the program, as Node does too (but on Windows).
 */
export class ProcessOutput implements OutputStream {
  readonly #name: "stdout" | "stderr";
  readonly #descriptor: 1 | 2;
  #failure: NodeJS.ErrnoException | null = null;
  readonly #onError: (error: NodeJS.ErrnoException) => void;
  #made: WriteStream | null = null;
  #isTerminal: boolean | null = null;

  /** @param onError Called with the first failure to write. Without it a failure counts for nothing. */
  constructor(name: "stdout" | "stderr", onError: (error: NodeJS.ErrnoException) => void = () => undefined) {
    this.#name = name;
    this.#descriptor = name === "stdout" ? 1 : 2;
    this.#onError = onError;
  }

  get #stream(): WriteStream {
    if (this.#made === null) {
      this.#made = process[this.#name];
      this.#made.once("error", this.#onError);
      this.#made.on("error", () => undefined);
    }
    return this.#made;
  }

  get isTTY(): boolean {
    this.#isTerminal ??= isCharacterDevice(this.#descriptor) && this.#stream.isTTY === true;
    return this.#isTerminal;
  }

  get columns(): number | undefined {
    return this.isTTY ? this.#stream.columns : undefined;
  }

  get rows(): number | undefined {
    return this.isTTY ? this.#stream.rows : undefined;
  }

  write(chunk: string | Uint8Array): boolean {
    if (this.#failure !== null) return true;
    if (this.#made !== null || process.platform === "win32" || this.isTTY) return this.#stream.write(chunk);
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.#descriptor, bytes, done);
      return true;
    } catch (error) {
      const cause = error as NodeJS.ErrnoException;
      // Somebody who shares the pipe wants no waiting: the stream knows how to.
      if (cause.code === "EAGAIN") return this.#stream.write(bytes.subarray(done));
      this.#failure = cause;
      this.#onError(cause);
      return true;
    }
  }

  on(event: "resize", listener: () => void): void {
    this.#stream.on(event, listener);
  }

  off(event: "resize", listener: () => void): void {
    this.#stream.off(event, listener);
  }

  /** Whether a write has failed. */
  get failed(): boolean {
    return this.#failure !== null || (this.#made !== null && this.#made.errored !== null);
  }

  /** Resolves once what was written has left the process. Nothing is written where nothing waits: even an empty write fails where a disk is full. */
  flush(): Promise<void> {
    const stream = this.#made;
    return new Promise((resolve) => {
      if (stream === null || stream.writableLength === 0 || stream.errored !== null) resolve();
      else stream.write("", () => resolve());
    });
  }
}

/** A terminal is one: what is none needs no stream to tell. */
function isCharacterDevice(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isCharacterDevice();
  } catch {
    return false;
  }
}
