import { execFileSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { LadingError } from "../errors.js";
import { decompress, sniffCompression } from "./decompress.js";
import { readAll } from "./verify.js";

async function* chunked(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
const unpack = async (bytes: Uint8Array, kind: "none" | "gzip" | "zstd", options = {}) =>
  Buffer.from(await readAll(decompress(chunked(bytes), kind, options), 1 << 30));
const zstd = (bytes: Uint8Array, ...flags: string[]) =>
  execFileSync("zstd", ["-qc", ...flags], { input: bytes, maxBuffer: 1 << 28 });
const hasZstd = (() => {
  try {
    return zstd(new Uint8Array(1)).length > 0;
  } catch {
    return false;
  }
})();
const text = Buffer.concat([randomBytesOf("d", 300_000), Buffer.alloc(500_000, "layer "), randomBytesOf("e", 100_000)]);

describe("decompress", () => {
  it("gives what was packed: nothing, gzip of one and of several members", async () => {
    expect((await unpack(text, "none")).equals(text)).toBe(true);
    expect((await unpack(gzipSync(text), "gzip")).equals(text)).toBe(true);
    const members = Buffer.concat([gzipSync(text), gzipSync(Buffer.alloc(0)), gzipSync(text)]);
    expect((await unpack(members, "gzip")).equals(Buffer.concat([text, text]))).toBe(true);
  });

  it.skipIf(!hasZstd)("gives what zstd packed, with several frames, and knows when it was cut", async () => {
    const packed = zstd(text, "-3", "--check");
    expect((await unpack(packed, "zstd")).equals(text)).toBe(true);
    const frames = Buffer.concat([packed, zstd(text, "-19")]);
    expect((await unpack(frames, "zstd")).equals(Buffer.concat([text, text]))).toBe(true);
    await expect(unpack(packed.subarray(0, packed.length - 9), "zstd")).rejects.toMatchObject({
      code: "archive-invalid",
    });
    await expect(
      unpack(zstd(text, "--ultra", "-22", "--long=31", "--no-check").subarray(0, 200_000), "zstd"),
    ).rejects.toMatchObject({
      code: expect.stringMatching(/archive-invalid|limit-exceeded/),
    });
  });

  it("refuses a stream that is cut anywhere", async () => {
    const packed = gzipSync(text.subarray(0, 20_000));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: packed.length - 1 }), async (length) => {
        await expect(unpack(packed.subarray(0, length), "gzip")).rejects.toMatchObject({ code: "archive-invalid" });
      }),
      { numRuns: 50 },
    );
  });

  it("takes zeros after the end for padding, and nothing else", async () => {
    const packed = gzipSync(text);
    expect((await unpack(Buffer.concat([packed, Buffer.alloc(200_000)]), "gzip")).equals(text)).toBe(true);
    const more = Buffer.concat([packed, Buffer.from("more")]);
    await expect(unpack(more, "gzip")).rejects.toMatchObject({ code: "archive-invalid" });
    await expect(unpack(Buffer.alloc(0), "gzip")).rejects.toMatchObject({ code: "archive-invalid" });
    await expect(unpack(Buffer.alloc(0), "zstd")).rejects.toMatchObject({ code: "archive-invalid" });
  });

  it("refuses damage", async () => {
    const packed = gzipSync(text);
    packed[1000] = (packed[1000] ?? 0) ^ 0xff;
    await expect(unpack(packed, "gzip")).rejects.toMatchObject({ code: "archive-invalid" });
  });

  it("counts what comes out", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    let seen = 0;
    const read = async () => {
      for await (const chunk of decompress(chunked(bomb), "gzip", { limit: 1_000_000 })) seen += chunk.byteLength;
    };
    await expect(read()).rejects.toMatchObject({ code: "limit-exceeded" });
    expect(seen).toBeLessThanOrEqual(1_000_000);
  });

  it("passes on the source's own error, and ends the source when the reader leaves", async () => {
    const failing = (async function* () {
      yield gzipSync(text).subarray(0, 1000);
      throw new LadingError("unreachable", "gone");
    })();
    await expect(readAll(decompress(failing, "gzip"), 1e9)).rejects.toMatchObject({ code: "unreachable" });

    let closed = false;
    const endless = (async function* () {
      try {
        for (;;) yield gzipSync(text);
      } finally {
        closed = true;
      }
    })();
    for await (const _ of decompress(endless, "gzip")) break;
    expect(closed).toBe(true);
  });

  it("stops at a signal", async () => {
    const controller = new AbortController();
    const endless = (async function* () {
      for (;;) yield gzipSync(text);
    })();
    const read = async () => {
      for await (const _ of decompress(endless, "gzip", { signal: controller.signal })) controller.abort();
    };
    await expect(read()).rejects.toMatchObject({ code: "cancelled" });
  });

  it("tells formats by their first bytes", () => {
    expect(sniffCompression(gzipSync("x"))).toBe("gzip");
    expect(sniffCompression(Buffer.from("BZh91AY"))).toBe("bzip2");
    expect(sniffCompression(new Uint8Array([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]))).toBe("xz");
    expect(sniffCompression(new Uint8Array([0x28, 0xb5, 0x2f, 0xfd]))).toBe("zstd");
    expect(sniffCompression(new Uint8Array(0))).toBe("none");
  });
});
