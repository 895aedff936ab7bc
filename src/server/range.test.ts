import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRange } from "./range.js";

describe("a Range header", () => {
  it("names a part within the content, nothing that is there, or is ignored", () => {
    const position = fc.option(fc.nat({ max: 50 }), { nil: "" });
    fc.assert(
      fc.property(position, position, fc.nat({ max: 40 }), (first, last, size) => {
        const range = parseRange(`bytes=${first}-${last}`, size);
        if (range.kind !== "part") return range.kind === (first === "" && last === "" ? "whole" : "unsatisfiable");
        const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
        const end = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
        return range.start === start && range.end === end && start <= end && end < size;
      }),
    );
  });

  it("never fails", () => {
    fc.assert(fc.property(fc.string(), fc.nat(), (text, size) => parseRange(text, size).kind !== undefined));
    expect(parseRange(undefined, 5)).toEqual({ kind: "whole" });
    expect(parseRange(`bytes=0-${"9".repeat(400)}`, 5)).toEqual({ kind: "part", start: 0, end: 4 });
  });
});
