import type { InputStream, Io, OutputStream } from "../../src/cli/io.js";

/** A stream that keeps what is written to it. */
export class RecordedStream implements OutputStream {
  readonly isTTY: boolean;
  columns: number;
  rows: number;
  #text = "";
  #listeners = new Set<() => void>();

  constructor({ isTTY = false, columns = 100, rows = 30 } = {}) {
    this.isTTY = isTTY;
    this.columns = columns;
    this.rows = rows;
  }

  write(chunk: string | Uint8Array): boolean {
    this.#text += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("latin1");
    return true;
  }

  on(_event: "resize", listener: () => void): void {
    this.#listeners.add(listener);
  }

  off(_event: "resize", listener: () => void): void {
    this.#listeners.delete(listener);
  }

  resize(columns: number, rows: number): void {
    this.columns = columns;
    this.rows = rows;
    for (const listener of this.#listeners) listener();
  }

  get text(): string {
    return this.#text;
  }

  get lines(): readonly string[] {
    return this.#text === "" ? [] : this.#text.replace(/\n$/, "").split("\n");
  }
}

export interface RecordedIo extends Io {
  readonly stdout: RecordedStream;
  readonly stderr: RecordedStream;
}

/** The world of one run, with nothing of the process in it. */
export function recordedIo(
  options: {
    readonly env?: Io["env"];
    readonly stdin?: string;
    readonly stdinIsTerminal?: boolean;
    readonly stdout?: RecordedStream;
    readonly stderr?: RecordedStream;
    readonly interrupted?: AbortSignal;
  } = {},
): RecordedIo {
  const { stdin = "", stdinIsTerminal = false } = options;
  const input: InputStream = {
    isTTY: stdinIsTerminal,
    async *[Symbol.asyncIterator]() {
      if (stdin !== "") yield Buffer.from(stdin);
    },
  };
  return {
    stdin: input,
    stdout: options.stdout ?? new RecordedStream(),
    stderr: options.stderr ?? new RecordedStream(),
    env: options.env ?? {},
    interrupted: options.interrupted ?? new AbortController().signal,
    flush: async () => undefined,
  };
}
