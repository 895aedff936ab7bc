import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { ioError, LadingError } from "../errors.js";

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
