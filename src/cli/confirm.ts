import type { Io } from "./io.js";

/** Whether there is somebody to ask: only then is anything asked. */
export function canAsk(io: Io): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true;
}

/** Asks on stderr. Anything but `y` or `yes` is a no, and so is the end of input. */
export async function confirm(io: Io, question: string, signal: AbortSignal): Promise<boolean> {
  const { createInterface } = await import("node:readline/promises");
  const prompt = createInterface({
    input: io.stdin as unknown as NodeJS.ReadableStream,
    output: io.stderr as unknown as NodeJS.WritableStream,
  });
  try {
    const ended = new Promise<string>((resolve) => {
      prompt.once("close", () => resolve(""));
    });
    // In raw mode Ctrl-C is a key, and has to become the signal that it is elsewhere.
    prompt.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
    const answer = await Promise.race([prompt.question(`${question} [y/N] `, { signal }), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    prompt.close();
  }
}
