import { LadingError } from "../errors.js";
import { canAsk } from "./confirm.js";
import type { Io } from "./io.js";

/** Longest password from a pipe, in bytes: it is one line. */
const limit = 64 * 1024;

/** The first line of stdin, without its end. */
export async function passwordFromStdin(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    size += bytes.length;
    if (size > limit) throw new LadingError("usage", "what came on stdin is too long for a password");
    chunks.push(bytes);
  }
  const text = Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");
  if (text === "") throw new LadingError("usage", "no password came on stdin");
  return text;
}

/**
 * Asks for a line on stderr.
 * @param hidden Nothing of the answer is shown.
 * @throws LadingError `usage` where there is nobody to ask, `cancelled`, `timeout`
 */
export async function ask(io: Io, question: string, hidden: boolean, signal: AbortSignal): Promise<string> {
  if (!canAsk(io)) {
    throw new LadingError("usage", "there is no terminal to ask for the password", {
      hint: "give --username, and the password with --password-stdin",
    });
  }
  const [{ createInterface }, { Writable }] = await Promise.all([
    import("node:readline/promises"),
    import("node:stream"),
  ]);
  let muted = false;
  // With terminal: true the interface itself echoes what is typed, to this stream alone.
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (!muted) io.stderr.write(chunk);
      done();
    },
  });
  const prompt = createInterface({ input: io.stdin as unknown as NodeJS.ReadableStream, output, terminal: true });
  prompt.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const ended = new Promise<never>((_resolve, reject) => {
      prompt.once("close", () => reject(new LadingError("usage", "no answer was given")));
    });
    ended.catch(() => undefined);
    const answer = prompt.question(question, { signal });
    muted = hidden;
    return await Promise.race([answer, ended]);
  } finally {
    muted = false;
    prompt.close();
    if (hidden) io.stderr.write("\n");
  }
}
