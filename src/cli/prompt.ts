import { abortError, LadingError } from "../errors.js";
import type { Io } from "./io.js";

/** Whether there is somebody to ask: only then is anything asked. */
export function canAsk(io: Io): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true;
}

export interface AskOptions {
  /** Nothing of the answer is shown. @default false */
  readonly hidden?: boolean;
  readonly signal: AbortSignal;
}

/**
 * Asks for one line on stderr.
 * @returns The line, or null where the input ends without one.
 * @throws LadingError `cancelled`, `timeout`
 */
export async function ask(io: Io, question: string, { hidden = false, signal }: AskOptions): Promise<string | null> {
  const [{ createInterface }, { Writable }] = await Promise.all([
    import("node:readline/promises"),
    import("node:stream"),
  ]);
  let muted = false;
  // In a terminal's raw mode the interface itself echoes what is typed, to this stream alone.
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (!muted) io.stderr.write(chunk);
      done();
    },
  });
  const prompt = createInterface({ input: io.stdin as unknown as NodeJS.ReadableStream, output, terminal: true });
  // In raw mode Ctrl-C is a key, and has to become the signal that it is elsewhere.
  prompt.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const ended = new Promise<null>((resolve) => {
      prompt.once("close", () => resolve(null));
    });
    const answer = prompt.question(question, { signal });
    muted = hidden;
    return await Promise.race([answer, ended]);
  } catch (error) {
    throw signal.aborted ? abortError(signal) : error;
  } finally {
    muted = false;
    prompt.close();
    if (hidden || signal.aborted) io.stderr.write("\n");
  }
}

/** Anything but `y` or `yes` is a no, and so is the end of input. */
export async function confirm(io: Io, question: string, signal: AbortSignal): Promise<boolean> {
  const answer = await ask(io, `${question} [y/N] `, { signal });
  return /^y(es)?$/i.test(answer?.trim() ?? "");
}

/** Longest password from a pipe, in bytes: it is one line. */
const passwordLimit = 64 * 1024;

/** All of stdin, without the newline at its end. @throws LadingError `usage` */
export async function passwordFromStdin(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    size += bytes.length;
    if (size > passwordLimit) throw new LadingError("usage", "what came on stdin is too long for a password");
    chunks.push(bytes);
  }
  const text = Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");
  if (text === "") throw new LadingError("usage", "no password came on stdin");
  return text;
}
