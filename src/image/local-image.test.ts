import { describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import { LocalImage } from "./local-image.js";
import { RemoteImage } from "./remote-image.js";
import { Tag } from "./tag.js";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isLadingError(error)) return error.code;
    throw error;
  }
  return "nothing thrown";
}

describe("LocalImage", () => {
  it("has name and tag, null where it is left out", () => {
    expect(new LocalImage("ubuntu").toJSON()).toEqual({ name: "ubuntu", tag: null });
    expect(new LocalImage("ubuntu", null).toString()).toBe("ubuntu");
    expect(new LocalImage("localhost:5000/bob/ubuntu", "v1").toString()).toBe("localhost:5000/bob/ubuntu:v1");
    expect({ ...new LocalImage("a", "b") }).toEqual({ name: "a", tag: "b" });
  });

  it.each(["", "-a", "A", "a:b", "a b", "/a", "a/", "host:x/a", "localhost/", "a@b", "n".repeat(256)])(
    "refuses the name %j",
    (name) => {
      expect(codeOf(() => new LocalImage(name))).toBe("bad-reference");
    },
  );

  it.each(["", ".a", "-a", "a b", "a/b", "t".repeat(129)])("refuses the tag %j", (tag) => {
    expect(codeOf(() => new LocalImage("a", tag))).toBe("bad-reference");
  });

  it("refuses what is no string", () => {
    expect(codeOf(() => new LocalImage(7 as unknown as string))).toBe("bad-reference");
    expect(codeOf(() => new LocalImage("a", {} as unknown as string))).toBe("bad-reference");
  });

  it("is frozen and equal by value, also to another copy's", () => {
    const image = new LocalImage("a", "b");
    expect(Object.isFrozen(image)).toBe(true);
    expect(image.equals(new LocalImage("a", "b"))).toBe(true);
    expect(image.equals({ name: "a", tag: "b" })).toBe(true);
    const others = [
      null,
      undefined,
      "a:b",
      {},
      new LocalImage("a"),
      RemoteImage.newExternalImage("a", null, { tag: "b" }),
    ];
    for (const other of others) expect(image.equals(other)).toBe(false);
  });

  it("from takes values of another copy by shape and refuses the rest", () => {
    const image = new LocalImage("a", "b");
    expect(LocalImage.from(image)).toBe(image);
    expect(LocalImage.from({ name: "a", tag: null })).toBeInstanceOf(LocalImage);
    for (const other of [
      null,
      undefined,
      "a:b",
      {},
      RemoteImage.newExternalImage("a"),
      new Tag("a", 1),
      { name: "A", tag: null },
    ]) {
      expect(codeOf(() => LocalImage.from(other))).toBe("bad-reference");
    }
  });
});
