import { LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";

/** Blocks in one piece: each unpacks to at most 128 KiB, were it four bytes long. */
const blocksPerPiece = 16;

type Stage = "magic" | "descriptor" | "frame" | "block" | "checksum" | "skippable";

/**
 * Cuts a zstd stream into pieces that unpack to no more than 2 MiB each, by reading the headers of its frames and blocks: a decoder that
 * is given more at once gives all of it at once.
 * @see https://datatracker.ietf.org/doc/html/rfc8878#section-3
 * @returns For each chunk of the stream its pieces.
 * @throws LadingError `limit-exceeded` for a window that is larger than any honest one; Error for what is no zstd
 */
export function createZstdCutter(): (chunk: Uint8Array) => readonly Uint8Array[] {
  let stage: Stage = "magic";
  let head: number[] = [];
  let wanted = 4;
  let bodyLeft = 0;
  let descriptor = 0;
  let isLast = false;
  let blocks = 0;

  const expect = (next: Stage, bytes: number) => {
    stage = next;
    wanted = bytes;
    head = [];
  };
  const endBody = () => {
    if (stage === "skippable") expect("magic", 4);
    else if (!isLast) expect("block", 3);
    else if ((descriptor & 4) !== 0) expect("checksum", 4);
    else expect("magic", 4);
  };
  const number = (from: number, bytes: number) =>
    head.slice(from, from + bytes).reduceRight((sum, byte) => sum * 256 + byte, 0);

  const endHead = () => {
    switch (stage) {
      case "magic": {
        const magic = number(0, 4);
        if (magic === 0xfd2fb528) return expect("descriptor", 1);
        if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) return expect("skippable", 4);
        throw new Error("what follows is no frame");
      }
      case "descriptor": {
        descriptor = head[0] ?? 0;
        const { window, dictionary, size } = fieldsOf(descriptor);
        return window + dictionary + size === 0 ? expect("block", 3) : expect("frame", window + dictionary + size);
      }
      case "frame": {
        const { window, dictionary, size } = fieldsOf(descriptor);
        const base = 2 ** (10 + ((head[0] ?? 0) >> 3));
        const content = number(window + dictionary, size) + (size === 2 ? 256 : 0);
        const needed = window === 1 ? base + (base / 8) * ((head[0] ?? 0) & 7) : content;
        if (needed > limits.zstdWindow) {
          const message = `the zstd stream asks for a window of more than ${limits.zstdWindow} bytes`;
          throw new LadingError("limit-exceeded", message, { limit: "zstdWindow" });
        }
        return expect("block", 3);
      }
      case "block": {
        const header = number(0, 3);
        const kind = (header >> 1) & 3;
        isLast = (header & 1) === 1;
        bodyLeft = kind === 1 ? 1 : header >> 3;
        blocks += 1;
        return bodyLeft === 0 ? endBody() : undefined;
      }
      case "checksum":
        return expect("magic", 4);
      case "skippable":
        bodyLeft = number(0, 4);
        return bodyLeft === 0 ? expect("magic", 4) : undefined;
    }
  };

  return (chunk) => {
    const pieces: Uint8Array[] = [];
    let start = 0;
    for (let at = 0; at < chunk.byteLength; ) {
      if (bodyLeft > 0) {
        const step = Math.min(bodyLeft, chunk.byteLength - at);
        at += step;
        bodyLeft -= step;
        if (bodyLeft === 0) endBody();
      } else {
        head.push(chunk[at++] as number);
        if (head.length === wanted) endHead();
      }
      if (blocks < blocksPerPiece || bodyLeft > 0) continue;
      pieces.push(chunk.subarray(start, at));
      start = at;
      blocks = 0;
    }
    if (start < chunk.byteLength) pieces.push(chunk.subarray(start));
    return pieces;
  };
}

/** Bytes of the fields of a frame's header. */
function fieldsOf(descriptor: number) {
  const single = (descriptor >> 5) & 1;
  return {
    window: 1 - single,
    dictionary: [0, 1, 2, 4][descriptor & 3] as number,
    size: [single, 2, 4, 8][descriptor >> 6] as number,
  };
}
