import { describe, expect, it } from "vitest";
import { LadingError } from "../errors.js";
import { Tag } from "./tag.js";

describe("Tag", () => {
  it("has a name and a size in bytes", () => {
    const tag = new Tag("v1", 10_000_000_000);
    expect(tag.toJSON()).toEqual({ name: "v1", size: 10_000_000_000 });
    expect(tag.toString()).toBe("v1");
    expect(Object.isFrozen(tag)).toBe(true);
    expect(tag.equals(new Tag("v1", 10_000_000_000))).toBe(true);
    expect(tag.equals(new Tag("v1", 1))).toBe(false);
    expect(tag.equals(null)).toBe(false);
    expect(Tag.from(tag)).toBe(tag);
    expect(Tag.from({ name: "v1", size: 10_000_000_000 }).equals(tag)).toBe(true);
  });

  it.each([
    ["a name that is none", "a b", 1],
    ["a negative size", "a", -1],
    ["half a byte", "a", 0.5],
    ["no number", "a", Number.NaN],
    ["more than a number holds", "a", 2 ** 53],
  ])("refuses %s", (_why, name, size) => {
    expect(() => new Tag(name, size)).toThrow(LadingError);
    expect(() => Tag.from({ name, size })).toThrow(LadingError);
  });

  it("from refuses what has another shape", () => {
    for (const other of [null, undefined, "v1", {}]) expect(() => Tag.from(other)).toThrow(LadingError);
  });
});
