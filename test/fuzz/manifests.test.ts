import fc from "fast-check";
import { describe, expect } from "vitest";
import { isDigest } from "../../src/oci/digest.js";
import { children, parseImageConfig, parseManifest, sniffManifestType } from "../../src/oci/manifest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileJson } from "./json-mutation.js";
import { configs, indexes, manifests } from "./samples.js";

const { ociManifest, dockerManifest, ociIndex, dockerList } = mediaTypes;

function properManifest(kind: "image" | "index", types: readonly string[]) {
  return async ([bytes, type]: [Buffer, string]): Promise<void> => {
    const codes = ["manifest-invalid", "limit-exceeded", "unsupported"] as const;
    const manifest = await unlessRefused(codes, () => parseManifest(bytes, type));
    expect(Object.prototype).not.toHaveProperty("a");
    if (manifest === null) return;
    expect(manifest.kind).toBe(kind);
    expect(types).toContain(manifest.mediaType);
    expect(children(manifest).length).toBeLessThan(bytes.length);
    for (const { digest, size, mediaType } of children(manifest)) {
      expect(isDigest(digest) && Number.isSafeInteger(size) && size >= 0 && mediaType !== "").toBe(true);
    }
  };
}

describe("manifests", () => {
  const images = [ociManifest, dockerManifest];
  fuzz(
    "an image's is read, or refused",
    fc.tuple(hostileJson(manifests), fc.constantFrom(...images)),
    properManifest("image", images),
  );

  const lists = [ociIndex, dockerList];
  fuzz(
    "an index is read, or refused",
    fc.tuple(hostileJson(indexes), fc.constantFrom(...lists)),
    properManifest("index", lists),
  );

  fuzz("a type is guessed from any value", hostileJson([...manifests, ...indexes]), (bytes) => {
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString());
    } catch {
      return;
    }
    expect([...images, ...lists, null]).toContain(sniffManifestType(value));
  });

  fuzz("a config is read, or refused", hostileJson(configs), async (bytes) => {
    const config = await unlessRefused(["manifest-invalid", "limit-exceeded"], () => parseImageConfig(bytes));
    if (config === null) return;
    const { platform, diffIds, created } = config;
    expect([typeof platform.os, typeof platform.architecture]).toEqual(["string", "string"]);
    for (const diffId of diffIds) expect(typeof diffId).toBe("string");
    expect(created === null || typeof created === "string").toBe(true);
  });
});
