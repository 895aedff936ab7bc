/** A stream that a command writes to: what of `process.stdout` and `process.stderr` the command line uses. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  write(chunk: string | Uint8Array): boolean;
  on?(event: "resize", listener: () => void): unknown;
  off?(event: "resize", listener: () => void): unknown;
}

/** What a command reads: a subset of `process.stdin`. */
export interface InputStream extends AsyncIterable<Uint8Array | string> {
  readonly isTTY?: boolean;
}

/** The world of one run of the command line, passed in so that every command is a testable function. */
export interface Io {
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Fires with an {@link Interruption} on the first SIGINT or SIGTERM. */
  readonly interrupted: AbortSignal;
  /** Resolves once what was written has left the process. */
  flush(stream: OutputStream): Promise<void>;
}

/** The reason of {@link Io.interrupted}: which signal it was decides the exit code. */
export class Interruption extends Error {
  override readonly name = "Interruption";
  readonly signal: "SIGINT" | "SIGTERM";

  constructor(signal: "SIGINT" | "SIGTERM") {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}
