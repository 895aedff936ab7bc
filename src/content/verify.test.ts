import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { withCode } from "../../test/support/store-contract.js";
import { LadingError } from "../errors.js";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import { readAll, readVerified, verifyStream } from "./verify.js";

const bytesOf = fc.uint8Array({ maxLength: 300 });
const algorithms = fc.constantFrom("sha256" as const, "sha512" as const);

async function* chunked(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

function describeAs(bytes: Uint8Array, algorithm: "sha256" | "sha512" = "sha256") {
  return { mediaType: mediaTypes.octetStream, digest: digestOf(bytes, algorithm), size: bytes.byteLength };
}

describe("verifyStream", () => {
  test("passes right content on, however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(bytesOf, fc.integer({ min: 1, max: 400 }), algorithms, async (bytes, size, algorithm) => {
        const stream = verifyStream(chunked(bytes, size), describeAs(bytes, algorithm));
        expect(Buffer.from(await readAll(stream, 300)).equals(bytes)).toBe(true);
      }),
    );
  });

  test("refuses whatever differs, and never gives a byte beyond the size", async () => {
    await fc.assert(
      fc.asyncProperty(bytesOf, bytesOf, fc.integer({ min: 1, max: 400 }), async (right, wrong, size) => {
        fc.pre(!Buffer.from(right).equals(wrong));
        let given = 0;
        const read = async () => {
          for await (const chunk of verifyStream(chunked(wrong, size), describeAs(right))) given += chunk.byteLength;
        };
        const code = right.byteLength === wrong.byteLength ? "digest-mismatch" : "size-mismatch";
        await expect(read()).rejects.toEqual(withCode(code));
        expect(given).toBeLessThanOrEqual(right.byteLength);
      }),
    );
  });
});

describe("readAll", () => {
  test("leaves a stream that is too long", async () => {
    let left = false;
    const endless = async function* () {
      try {
        for (;;) yield new Uint8Array(10);
      } finally {
        left = true;
      }
    };
    await expect(readAll(endless(), 25)).rejects.toEqual(withCode("limit-exceeded"));
    expect(left).toBe(true);
    expect(await readAll(chunked(new Uint8Array(25), 10), 25)).toHaveLength(25);
  });
});

describe("readVerified", () => {
  test("asks for nothing that is said to be too large, and believes no source", async () => {
    const bytes = Buffer.from("right");
    let asked = 0;
    const source = {
      has: async () => true,
      async *get() {
        asked += 1;
        yield Buffer.from("wrong");
      },
    };
    await expect(readVerified(source, describeAs(bytes), { limit: 4 })).rejects.toEqual(withCode("limit-exceeded"));
    expect(asked).toBe(0);
    await expect(readVerified(source, describeAs(bytes), { limit: 5 })).rejects.toEqual(withCode("digest-mismatch"));
  });

  test("reads once more what arrived damaged, and says of what is put aside then that it is damaged", async () => {
    const bytes = Buffer.from("right");
    const reading = (...texts: readonly (string | LadingError)[]) => {
      let asked = 0;
      return {
        has: async () => true,
        async *get() {
          const next = texts[asked++] ?? "right";
          if (typeof next !== "string") throw next;
          yield Buffer.from(next);
        },
      };
    };
    const read = (source: ReturnType<typeof reading>) => readVerified(source, describeAs(bytes), { limit: 5 });
    expect(Buffer.from(await read(reading("wrong"))).toString()).toBe("right");
    await expect(read(reading("wrong", "wrong"))).rejects.toEqual(withCode("digest-mismatch"));
    const gone = new LadingError("not-found", "put aside");
    await expect(read(reading("wrong", gone))).rejects.toEqual(withCode("digest-mismatch"));
    await expect(read(reading(gone))).rejects.toEqual(withCode("not-found"));
  });
});
