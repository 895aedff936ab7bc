import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeJson, safeJson, safeText } from "./safe-text.js";

/** What a terminal could obey, or what could hide or turn text. */
const dangerous = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Surrogate}/u;

describe("safeText", () => {
  it.each([
    ["a\u001b[31mred", "a\\x1b[31mred"],
    ["line\r\nnext", "line\\x0d\\nnext"],
    ["\u009b2J", "\\x9b2J"],
    ["evil\u202egnp.exe", "evil\\u{202e}gnp.exe"],
    ["zero\u200bwidth", "zero\\u{200b}width"],
    ["\u{e0041}tag", "\\u{e0041}tag"],
    ["\ud800", "\\u{d800}"],
    ["Grüße, 世界 🐳", "Grüße, 世界 🐳"],
  ])("shows %j as %j", (text, shown) => {
    expect(safeText(text)).toBe(shown);
  });

  it("lets nothing dangerous through", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(safeText(text)).not.toMatch(dangerous);
      }),
    );
  });

  it("cuts what is too long", () => {
    expect(safeText("x".repeat(50), 10)).toBe(`${"x".repeat(9)}…`);
  });
});

describe("safeJson", () => {
  it("is exactly the same value, in safe characters", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        const text = safeJson(value);
        expect(text).not.toMatch(dangerous);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it("keeps the layout of JSON that is written already", () => {
    expect(escapeJson('{\n\t"a": "\u202e\u{e0041}"\r\n}')).toBe('{\n\t"a": "\\u202e\\udb40\\udc41"\r\n}');
  });
});
