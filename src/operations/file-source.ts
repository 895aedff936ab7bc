import { open, stat } from "node:fs/promises";
import { ChunkMemory } from "../content/lent-chunk.js";
import { type ErrorCode, ioError, isLadingError, LadingError, type Side } from "../errors.js";
import { misused } from "./call-options.js";

/** @throws LadingError `usage` for what is neither a path nor a stream */
export function checkSource(source: unknown): void {
  if (typeof source === "string" && source !== "") return;
  if (typeof source === "object" && source !== null && Symbol.asyncIterator in source) return;
  throw misused("the source", "a path, or an AsyncIterable of bytes");
}

/** @param form What the verb reads, for the hint. @throws LadingError `not-found`, `io` */
export async function isDirectory(path: string, form: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new LadingError("not-found", `there is no ${path}`, {
        side: "source",
        hint: `check the path; it is ${form}, or - for stdin`,
        cause: error,
      });
    }
    throw ioError(error, `looking at ${path}`, { side: "source" });
  }
}

/** What a shell hands over as a path: standard input, and `<(command)`. */
const handedOver = /^\/(?:dev\/stdin|(?:dev|proc\/self)\/fd\/\d+)$/;

/**
 * A path that somebody gave must be that of a file: a FIFO would wait for a writer that may never come, and a device has no end.
 * @throws LadingError `io`
 */
async function refuseSpecial(path: string): Promise<void> {
  if (handedOver.test(path)) return;
  const found = await stat(path);
  if (found.isFile()) return;
  const kind = found.isFIFO() ? "a FIFO" : found.isSocket() ? "a socket" : "a device";
  throw new LadingError("io", `${path} is ${kind}, not a file`, {
    side: "source",
    hint: `to read it nevertheless, give it on standard input: - < ${path}`,
  });
}

/** Bytes read at once. */
const chunkSize = 1024 * 1024;

/** A file's bytes in large chunks, which may be given back. @throws LadingError `io` */
export async function* fileBytes(path: string): AsyncGenerator<Uint8Array> {
  try {
    await refuseSpecial(path);
    const handle = await open(path);
    try {
      const chunks = new ChunkMemory(chunkSize);
      for (;;) {
        const memory = chunks.take();
        // Without a position, so that what is no regular file (a pipe, /dev/stdin) can be read too.
        const { bytesRead } = await handle.read(memory, 0, chunkSize, null);
        if (bytesRead === 0) return;
        yield chunks.lend(memory, bytesRead);
      }
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw ioError(error, `reading ${path}`, { side: "source" });
  }
}

/** What only the content can be blamed for, and what only the place that it goes to. */
const sides: ReadonlyMap<ErrorCode, Side> = new Map([
  ["archive-invalid", "source"],
  ["manifest-invalid", "source"],
  ["digest-mismatch", "source"],
  ["size-mismatch", "source"],
  ["limit-exceeded", "source"],
  ["no-space", "destination"],
]);

/**
 * An error of reading files into the store, with the side that it can only be on; what is known already is kept. What is wrong with
 * an archive is said with its path.
 */
export function sidedAsRead(error: unknown, source: unknown): unknown {
  if (!isLadingError(error)) return error;
  const side = error.side ?? sides.get(error.code);
  if (error.code !== "archive-invalid" || typeof source !== "string") return error.with({ side });
  const message = error.message.includes(source) ? error.message : `${source}: ${error.message}`;
  return new LadingError(error.code, message, { ...error.toJSON(), side, cause: error.cause });
}
