import { execFileSync } from "node:child_process";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { goldenInputs, goldenVectors } from "../../test/golden/compressor-vectors.mjs";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { createHasher } from "../oci/digest.js";
import { compressorId, gzipStream } from "./compress.js";
import { createDeflatePool, type DeflatePool } from "./deflate-pool.js";
import { giveBack } from "./lent-chunk.js";

const pools = {
  none: createDeflatePool({ threads: 0 }),
  one: createDeflatePool({ threads: 1 }),
  three: createDeflatePool({ threads: 3 }),
};
afterAll(async () => {
  await Promise.all(Object.values(pools).map((pool) => pool.close()));
});

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

async function gzip(source: AsyncIterable<Uint8Array>, pool?: DeflatePool): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of gzipStream(source, pool === undefined ? {} : { pool })) parts.push(part);
  return Buffer.concat(parts);
}

/** Bytes with runs, repeats far and near, and noise: what exercises a match finder. */
const compressible = fc
  .array(
    fc.oneof(
      fc.record({ kind: fc.constant("run" as const), byte: fc.nat(255), length: fc.integer({ min: 1, max: 200_000 }) }),
      fc.record({ kind: fc.constant("noise" as const), seed: fc.nat(), length: fc.integer({ min: 1, max: 100_000 }) }),
      fc.record({
        kind: fc.constant("repeat" as const),
        back: fc.integer({ min: 1, max: 70_000 }),
        length: fc.integer({ min: 3, max: 90_000 }),
      }),
    ),
    { maxLength: 24 },
  )
  .map((parts) => {
    let bytes = Buffer.alloc(0);
    for (const part of parts) {
      if (part.kind === "run") bytes = Buffer.concat([bytes, Buffer.alloc(part.length, part.byte)]);
      else if (part.kind === "noise") bytes = Buffer.concat([bytes, randomBytesOf(String(part.seed), part.length)]);
      else
        bytes = Buffer.concat([bytes, bytes.subarray(Math.max(0, bytes.length - part.back)).subarray(0, part.length)]);
    }
    return bytes;
  });

describe("gzipStream", () => {
  it("gives back what went in, whatever it was and however it was cut, on any number of threads", async () => {
    await fc.assert(
      fc.asyncProperty(compressible, fc.integer({ min: 1000, max: 3_000_000 }), async (bytes, size) => {
        const here = await gzip(chunked(bytes, size), pools.none);
        expect(gunzipSync(here).equals(bytes)).toBe(true);
        expect((await gzip(chunked(bytes, 65_537), pools.three)).equals(here)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("fills the memory that is given back, and makes the same bytes", async () => {
    const bytes = Buffer.concat(Array.from({ length: 12 }, (_, n) => randomBytesOf(`block ${n}`, 1024 * 1024 - n)));
    const stream = gzipStream(chunked(bytes, 100_003), { pool: pools.three });
    const memories = new Set<ArrayBufferLike>();
    const parts: Uint8Array[] = [];
    for await (const part of stream) {
      parts.push(part.slice());
      if (part.buffer instanceof SharedArrayBuffer) memories.add(part.buffer);
      giveBack(part);
      giveBack(part);
    }
    expect(Buffer.concat(parts).equals(await gzip(chunked(bytes, 1 << 20), pools.none))).toBe(true);
    expect(memories.size).toBeLessThan(8);
  });

  it("keeps the order of many blocks", async () => {
    const bytes = Buffer.concat(Array.from({ length: 9 }, (_, n) => Buffer.alloc(1024 * 1024 + n, n)));
    const [one, three] = [
      await gzip(chunked(bytes, 1 << 20), pools.one),
      await gzip(chunked(bytes, 999_983), pools.three),
    ];
    expect(gunzipSync(three).equals(bytes)).toBe(true);
    expect(three.equals(one)).toBe(true);
  });

  it("works in threads, as many as it may, and ends them", async () => {
    const pool = createDeflatePool({ threads: 2 });
    await gzip(chunked(new Uint8Array(4 << 20), 1 << 20), pool);
    expect(pool.threads).toBe(2);
    await pool.close();
    expect(pool.threads).toBe(0);
    expect(gunzipSync(await gzip(chunked(new Uint8Array(2 << 20), 1 << 20), pool)).byteLength).toBe(2 << 20);
    await pool.close();
  });

  it("makes the same bytes as ever for the golden inputs", async () => {
    const made: Record<string, string> = {};
    for (const [name, input] of goldenInputs()) {
      const packed = await gzip(chunked(input, 100_000));
      expect(gunzipSync(packed).equals(input)).toBe(true);
      const hasher = createHasher();
      hasher.update(packed);
      made[name] = hasher.digest();
    }
    expect({ compressorId, digests: made }).toEqual(goldenVectors);
  });

  it("is one member without a time or a name, which GNU gzip accepts", async () => {
    const bytes = randomBytesOf("gnu", 2_500_000);
    const made = await gzip(chunked(bytes, 65_536));
    expect([...made.subarray(0, 10)]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    const unpacked = execFileSync("gzip", ["-dc"], { input: made, maxBuffer: 1 << 24 });
    expect(unpacked.equals(bytes)).toBe(true);
  });

  it("stops the source when the reader leaves, and holds few blocks at a time", async () => {
    let taken = 0;
    let closed = false;
    const source = (async function* () {
      try {
        for (;;) {
          taken++;
          yield new Uint8Array(1024 * 1024);
        }
      } finally {
        closed = true;
      }
    })();
    let parts = 0;
    for await (const _ of gzipStream(source, { pool: pools.one })) if (++parts === 4) break;
    expect(closed).toBe(true);
    expect(taken).toBeLessThan(8);
  });

  it("passes on what the source throws, and stops at a signal", async () => {
    const failing = (async function* () {
      yield new Uint8Array(3_000_000);
      throw new RangeError("source");
    })();
    await expect(gzip(failing, pools.one)).rejects.toBeInstanceOf(RangeError);
    const signal = AbortSignal.abort(new Error("enough"));
    const run = async () => {
      for await (const _ of gzipStream(chunked(new Uint8Array(10), 10), { signal }));
    };
    await expect(run()).rejects.toMatchObject({ code: "cancelled" });
  });

  it("reports the bytes taken", async () => {
    const seen: number[] = [];
    for await (const _ of gzipStream(chunked(new Uint8Array(2_500_000), 1_000_000), { onBytes: (n) => seen.push(n) }));
    expect(seen).toEqual([1 << 20, 2 << 20, 2_500_000]);
  });
});
