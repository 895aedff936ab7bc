import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import { type JsonObject, jsonLines } from "./json-lines.js";

async function* pieces(...texts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield typeof text === "string" ? Buffer.from(text) : text;
}

async function read(source: AsyncIterable<Uint8Array>, limit?: number): Promise<readonly JsonObject[] | string> {
  const lines: JsonObject[] = [];
  try {
    for await (const line of jsonLines(source, { doing: "loading", ...(limit === undefined ? {} : { limit }) })) {
      lines.push(line);
    }
  } catch (error) {
    return isLadingError(error) ? error.code : `no LadingError: ${String(error)}`;
  }
  return lines;
}

describe("jsonLines", () => {
  it("reads lines however they are cut, with characters of several bytes", async () => {
    const values = fc.array(fc.record({ stream: fc.string({ unit: "grapheme" }), n: fc.integer() }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(values, fc.integer({ min: 1, max: 7 }), async (objects, size) => {
        const bytes = Buffer.from(objects.map((object) => `${JSON.stringify(object)}\r\n`).join(""));
        const chunks: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
        expect(await read(pieces(...chunks))).toEqual(objects);
      }),
    );
  });

  it("takes a last line without a newline, and blank lines", async () => {
    expect(await read(pieces('\n{"a":1}\n\n{"b":2}'))).toEqual([{ a: 1 }, { b: 2 }]);
    expect(await read(pieces())).toEqual([]);
  });

  it("keeps its bytes when the source fills its buffer again", async () => {
    async function* reused(): AsyncGenerator<Uint8Array> {
      const buffer = Buffer.from('{"a":');
      yield buffer;
      buffer.fill(0x20);
      yield Buffer.from("1}\n");
    }
    expect(await read(reused())).toEqual([{ a: 1 }]);
  });

  it.each([
    ['{"stream":"done"}\n{"error":"it broke"}\n', "engine-failed"],
    ['{"errorDetail":{"message":"it broke"}}\n', "engine-failed"],
    ['{"error":{}}\n', "engine-failed"],
    ['{"error":"write /x: no space left on device"}\n', "no-space"],
    ['{"cause":"x","message":"it broke","response":500}', "engine-failed"],
    ['{"stream":"ha', "engine-failed"],
    ["[1]\n", "engine-failed"],
    ["null\n", "engine-failed"],
    ["Loaded image\n", "engine-failed"],
  ])("refuses %j", async (text, expected) => {
    expect(await read(pieces(text))).toBe(expected);
  });

  it("stops at a line without an end", async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        given += 1;
        yield Buffer.alloc(1024, 0x61);
      }
    }
    expect(await read(endless(), 10_000)).toBe("limit-exceeded");
    expect(given).toBe(10);
  });
});
