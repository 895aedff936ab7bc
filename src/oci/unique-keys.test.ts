import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { duplicateKey } from "./unique-keys.js";

describe("duplicateKey", () => {
  it.each([
    ['{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}', null],
    ['{"a":1,"a":1}', "a"],
    ['{"a":1,"b":{"c":[{"d":{}}],"c" : 2}}', "c"],
    ['{"a":1,"\\u0061":2}', "a"],
    ['{"a":"a","b":["a","a"],"c":"{\\"a\\":1,\\"a\\":2}"}', null],
    ['["a","a"]', null],
    ['{"__proto__":1,"constructor":2}', null],
    ['{"":1,"":2}', ""],
    ['"a"', null],
    ["{}", null],
  ])("%s", (json, expected) => {
    expect(duplicateKey(json)).toBe(expected);
  });

  it("finds none in what has none, however it is written", () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), fc.constantFrom(undefined, 1, "\t"), (json, indent) => {
        // Parsed and written again, a name stands once.
        expect(duplicateKey(JSON.stringify(JSON.parse(json), null, indent))).toBeNull();
      }),
    );
  });

  it("finds one wherever it is put, at any depth", () => {
    const name = fc.string({ minLength: 1 });
    fc.assert(
      fc.property(fc.jsonValue(), name, fc.nat({ max: 5000 }), (value, twice, depth) => {
        const key = JSON.stringify(twice);
        const inner = `{${key}:${JSON.stringify(value)},${key}:0}`;
        expect(duplicateKey(`${"[".repeat(depth)}${inner}${"]".repeat(depth)}`)).not.toBeNull();
      }),
    );
  });
});
