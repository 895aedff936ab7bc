import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { type ErrorCode, ioError, isLadingError, LadingError, type Side } from "../errors.js";
import { misused } from "./call-options.js";

/** @throws LadingError `usage` for what is neither a path nor a stream */
export function checkSource(source: unknown): void {
  if (typeof source === "string" && source !== "") return;
  if (typeof source === "object" && source !== null && Symbol.asyncIterator in source) return;
  throw misused("the source", "a path, or an AsyncIterable of bytes");
}

/** @throws LadingError `not-found`, `io` */
export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new LadingError("not-found", `there is no ${path}`, { side: "source", cause: error });
    }
    throw ioError(error, `looking at ${path}`, { side: "source" });
  }
}

/** A file's bytes in large chunks. @throws LadingError `io` */
export async function* fileBytes(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Uint8Array>;
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

/** An error of reading files into the store, with the side that it can only be on; what is known already is kept. */
export function sidedAsRead(error: unknown): unknown {
  return isLadingError(error) ? error.with({ side: sides.get(error.code) }) : error;
}
