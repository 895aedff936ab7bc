import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import {
  authorityOf,
  isAuthority,
  isExplicitRemote,
  isImageId,
  isLoopbackHost,
  quoted,
  schemeOf,
  splitReference,
} from "./reference.js";

describe("authorityOf", () => {
  it.each([
    ["https://registry.main.example", "registry.main.example", "https"],
    ["https://registry.main.example/", "registry.main.example", "https"],
    ["http://localhost:5000", "localhost:5000", "http"],
    ["HTTPS://R.Example:443", "r.example:443", "https"],
    ["http://[::1]:5050", "[::1]:5050", "http"],
    ["http://registry", "registry", "http"],
  ])("%s", (url, authority, scheme) => {
    expect(authorityOf(url)).toBe(authority);
    expect(schemeOf(url)).toBe(scheme);
  });

  it.each([
    "",
    "registry.example",
    "ftp://r.example",
    "https://",
    "https://u:p@r.example",
    "https://r.example/v2",
    "https://r.example?x",
    "https://r.example#x",
    "https://r.example:0",
    "https://r.example:99999",
    "https://r.example\n",
    7,
    null,
  ])("refuses %j", (url) => {
    try {
      authorityOf(url);
      expect.unreachable();
    } catch (error) {
      expect(isLadingError(error) && error.code).toBe("config-invalid");
    }
  });
});

describe("isLoopbackHost", () => {
  it.each(["localhost", "localhost:5050", "LOCALHOST", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:5050"])(
    "%s is",
    (host) => {
      expect(isLoopbackHost(host)).toBe(true);
    },
  );
  it.each([
    "localhost.example",
    "127.0.0.1.example",
    "127.0.0.256",
    "128.0.0.1",
    "127.1",
    "[::2]",
    "xlocalhost",
    "0.0.0.0",
    "",
  ])("%j is not", (host) => {
    expect(isLoopbackHost(host)).toBe(false);
  });
});

describe("isExplicitRemote", () => {
  it.each([
    ["image:app", true],
    ["image://main/bob/app", true],
    ["quay.io/org/app", true],
    ["localhost/app", true],
    ["localhost:5000/app:1", true],
    ["[::1]:5000/app", true],
    ["app", false],
    ["app:1", false],
    ["bob/app", false],
    ["library/app:1", false],
    ["localhost:5000", false],
    ["quay.io/", false],
    ["/app", false],
    ["", false],
    [null, false],
  ])("%j: %s", (text, expected) => {
    expect(isExplicitRemote(text)).toBe(expected);
  });
});

describe("isImageId", () => {
  it.each([
    [`sha256:${"0f".repeat(32)}`, true],
    [`sha256:${"0F".repeat(32)}`, false],
    [`sha256:${"0f".repeat(31)}`, false],
    [`sha512:${"0f".repeat(64)}`, false],
    ["0f".repeat(32), false],
    [undefined, false],
  ])("%j: %s", (text, expected) => {
    expect(isImageId(text)).toBe(expected);
  });
});

describe("isAuthority", () => {
  it.each(["a", "a.b", "a-b.c", "localhost", "a:1", "a.b:65535", "10.0.0.1:5000", "[::1]", "[::1]:80"])(
    "takes %s",
    (text) => {
      expect(isAuthority(text)).toBe(true);
    },
  );
  it.each([
    "",
    "-a",
    "a-",
    "a..b",
    ".a",
    "a.",
    "a_b",
    "a:",
    "a:0",
    "a:080",
    "a:65536",
    "a:b",
    "::1",
    "[]",
    "[::1",
    "a/b",
    "a b",
  ])("refuses %j", (text) => {
    expect(isAuthority(text)).toBe(false);
  });
});

describe("splitReference", () => {
  it("gives host, path, tag and digest", () => {
    const digest = `sha256:${"a1".repeat(32)}`;
    expect(splitReference("ubuntu")).toEqual({ host: null, path: "ubuntu", tag: null, digest: null });
    expect(splitReference(`Quay.io:443/o/a:v1@${digest}`)).toEqual({
      host: "quay.io:443",
      path: "o/a",
      tag: "v1",
      digest,
    });
  });
});

describe("quoted", () => {
  it("lets no control character, and nothing that is not ASCII, into a message", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.anything()), (text) => {
        expect(quoted(text)).toMatch(/^[\x20-\x7e…]*$/);
      }),
    );
    expect(quoted('a"\u001b[2J\\')).toBe('"a\\"\\u001b[2J\\\\"');
    expect(quoted("x".repeat(1000)).length).toBeLessThan(100);
  });
});
