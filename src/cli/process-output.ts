import { fstatSync } from "node:fs";
import type { WriteStream } from "node:tty";
import type { OutputStream } from "./io.js";

/**
 * `process.stdout` or `process.stderr`, made when something is written: to make one takes longer than the parsing of the
 * command line, and many runs use neither.
 */
export class ProcessOutput implements OutputStream {
  readonly #name: "stdout" | "stderr";
  readonly #onError: (error: NodeJS.ErrnoException) => void;
  #made: WriteStream | null = null;

  /** @param onError Called with the first failure to write. Without it a failure counts for nothing. */
  constructor(name: "stdout" | "stderr", onError: (error: NodeJS.ErrnoException) => void = () => undefined) {
    this.#name = name;
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

  /** A terminal is a character device: what is none needs no stream to tell. */
  get isTTY(): boolean {
    try {
      return fstatSync(this.#name === "stdout" ? 1 : 2).isCharacterDevice() && this.#stream.isTTY === true;
    } catch {
      return false;
    }
  }

  get columns(): number | undefined {
    return this.isTTY ? this.#stream.columns : undefined;
  }

  get rows(): number | undefined {
    return this.isTTY ? this.#stream.rows : undefined;
  }

  write(chunk: string | Uint8Array): boolean {
    return this.#stream.write(chunk);
  }

  on(event: "resize", listener: () => void): void {
    this.#stream.on(event, listener);
  }

  off(event: "resize", listener: () => void): void {
    this.#stream.off(event, listener);
  }

  /** Whether a write has failed. */
  get failed(): boolean {
    return this.#made !== null && this.#made.errored !== null;
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
