import { LadingError } from "../errors.js";
import type { Io } from "./io.js";

/**
 * A file or folder by its path, or the bytes of stdin for `-`.
 * @throws LadingError `usage` where stdin is a terminal: nobody types an archive
 */
export function inputArgument(io: Io, source: string, example: string): string | AsyncIterable<Uint8Array> {
  if (source !== "-") return source;
  if (io.stdin.isTTY === true) {
    throw new LadingError("usage", "stdin is a terminal, and an archive is expected there", {
      hint: `name a file (${example}), or pipe one in`,
    });
  }
  return bytesOf(io.stdin);
}

async function* bytesOf(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
  for await (const chunk of input) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}
