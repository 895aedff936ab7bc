import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeName, encodeName } from "./record-name.js";

const alphabet = [..."abcXYZ019_.-/"];
const name = fc
  .array(fc.constantFrom(...alphabet), { minLength: 1, maxLength: 128 })
  .map((letters) => `a${letters.join("")}`);

describe("file names of records", () => {
  it("read back as what was written", () => {
    fc.assert(fc.property(name, (text) => decodeName(encodeName(text)) === text));
  });

  it("differ also where the file system does not look at case", () => {
    fc.assert(
      fc.property(name, name, (one, other) => {
        fc.pre(one !== other);
        return encodeName(one).toLowerCase() !== encodeName(other).toLowerCase();
      }),
    );
  });

  it("are one plain name, short enough for every file system", () => {
    fc.assert(fc.property(name, (text) => /^[a-z0-9._=+-]{1,255}$/.test(encodeName(text))));
    expect(encodeName("v1.0")).toBe("v1.0");
    expect(encodeName("Z".repeat(128)).length).toBeLessThan(255);
  });

  it("of others are not ours", () => {
    for (const file of [".DS_Store", "a+xyz", "a+1+2", ""]) expect(decodeName(file)).toBeNull();
  });
});
