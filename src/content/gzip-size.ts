import type { Descriptor } from "../oci/descriptor.js";
import type { ContentSource } from "./store.js";
import { readAll } from "./verify.js";

/** From here on, in bytes, a stream may well unpack to more than its trailer can say. */
const mostPacked = 1024 ** 3;

/**
 * What a gzip stream has unpacked, by its trailer: right for one member of less than 4 GiB, which nearly all layers are, and a guess
 * for all others. Whoever counts on it has to count.
 * @see https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1
 * @returns Bytes; null where the trailer can't be right.
 */
export async function gzipSize(from: ContentSource, stream: Descriptor, signal?: AbortSignal): Promise<number | null> {
  if (stream.size < 18 || stream.size > mostPacked) return null;
  const trailer = await readAll(from.get(stream, { offset: stream.size - 4, signal }), 4);
  if (trailer.byteLength !== 4) return null;
  const size = Buffer.from(trailer).readUInt32LE();
  // What does not shrink grows by some bytes in a thousand; much less than that is the end of one member of several.
  return size > stream.size * 0.99 - 1000 ? size : null;
}
