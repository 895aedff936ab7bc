import { describe, expect, it } from "vitest";
import { formatPlatform, normalizePlatform, parsePlatform } from "./platform.js";

describe("normalizePlatform", () => {
  it.each([
    [{ os: "Linux", architecture: "x86_64" }, "linux/amd64"],
    [{ os: "linux", architecture: "arm" }, "linux/arm/v7"],
    [{ os: "linux", architecture: "arm64", variant: "v8" }, "linux/arm64"],
  ])("gives the usual spelling of %j", (platform, text) => {
    expect(formatPlatform(normalizePlatform(platform))).toBe(text);
  });

  it.each(["__proto__", "constructor", "toString"])("takes %s for a name as any other", (architecture) => {
    expect(parsePlatform(`linux/${architecture}`)).toEqual({ os: "linux", architecture: architecture.toLowerCase() });
  });
});
