import fc from "fast-check";
import { expect, it } from "vitest";
import { formatSize, parseSize } from "./size.js";

it.each([
  ["0", 0],
  ["4096", 4096],
  ["10k", 10_000],
  ["1.5M", 1_500_000],
  ["20G", 20_000_000_000],
  ["1Ki", 1024],
  ["512Mi", 536_870_912],
  ["2GiB", 2_147_483_648],
])("reads %s as %d bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

it.each(["", "-1", "10X", "k", "1e9", "1.2.3", "NaN", "99999999999T", "1 0"])("refuses %j", (text) => {
  expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: "usage" }));
});

it("prints at most four digits before the unit", () => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (bytes) => {
      expect(formatSize(bytes)).toMatch(/^(\d{1,3} B|\d{1,4}\.\d (k|M|G|T|P)B)$/);
    }),
  );
  expect(formatSize(999)).toBe("999 B");
  expect(formatSize(999_999)).toBe("1.0 MB");
});
