import type { FileHandle } from "node:fs/promises";
import type { FileSystem } from "../../content/file-system.js";
import { ioError, LadingError } from "../../errors.js";

/** Large enough that the cost per chunk vanishes, small enough that many readers fit into memory. */
const chunkSize = 1024 * 1024;

/** Bytes `start` to `end`, both included; the next chunk is read while the reader has this one. */
export async function* readFileRange(
  fs: FileSystem,
  path: string,
  start: number,
  end: number,
): AsyncIterable<Uint8Array> {
  if (start > end) return;
  let handle: FileHandle;
  try {
    handle = await fs.open(path, "r");
  } catch (error) {
    throw ioError(error, "reading a blob");
  }
  let ahead: Promise<Uint8Array> | null = null;
  const read = (position: number): Promise<Uint8Array> => {
    const next = readChunk(handle, position, Math.min(chunkSize, end + 1 - position));
    // a reader that leaves early never looks at it
    next.catch(() => undefined);
    return next;
  };
  try {
    let position = start;
    ahead = read(position);
    while (ahead !== null) {
      const chunk: Uint8Array = await ahead;
      position += chunk.length;
      ahead = position <= end ? read(position) : null;
      yield chunk;
    }
  } finally {
    await ahead?.catch(() => undefined);
    await handle.close();
  }
}

async function readChunk(handle: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  if (bytesRead === 0) throw new LadingError("io", "a blob is shorter than it was");
  return buffer.subarray(0, bytesRead);
}
