import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** A gigabyte, for most purposes: sends one chunk again and again, until the client has gone. @returns Bytes that were taken. */
export async function sendEndlessly(response: ServerResponse, chunk: Uint8Array, first = ""): Promise<number> {
  let taken = 0;
  function* content() {
    if (first !== "") yield Buffer.from(first);
    for (; taken < 1024 ** 3; taken += chunk.length) yield chunk;
  }
  await pipeline(Readable.from(content()), response).catch(() => {});
  return taken;
}
