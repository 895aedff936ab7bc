import fc from "fast-check";
import { describe, expect } from "vitest";
import { Parser } from "../../src/image/parser.js";
import { splitReference } from "../../src/image/reference.js";
import { parseDigest } from "../../src/oci/digest.js";
import { formatPlatform, parsePlatform } from "../../src/oci/platform.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileText } from "./mutation.js";

const hex = "0123456789abcdef".repeat(4);
const samples = [
  ...["ubuntu", "app:1", "library/ubuntu:24.04", "docker.io/library/alpine:3.20", "quay.io/org/app:v2"],
  ...["localhost:5000/a/b:latest", "127.0.0.1:5050/alice/app:1", "[::1]:5000/a/b:c", "registry.example:443/a"],
  ...[`app@sha256:${hex}`, `ghcr.io/a/b:1@sha256:${hex}`, `sha256:${hex}`, `a/b@sha512:${hex}${hex}`],
  ...["image:app:1", "image://main/bob/app:2", "image:/bob/app", "image://main/org/bob/deep/app:1", "image:app"],
  ...["a__b/c.d-e--f:T_1.x-y", "xn--bcher-kva.example/a:1"],
];
const parser = new Parser({
  clusters: { main: "https://registry.main.example", local: "http://localhost:5050" },
  cluster: "main",
  owner: "alice",
  org: null,
});
const text = fc.oneof(hostileText(samples), fc.constantFrom(...samples));

describe("references", () => {
  fuzz("a reference is split, or refused", text, async (input) => {
    const parts = await unlessRefused(["bad-reference"], () => splitReference(input));
    if (parts !== null) expect(input.length).toBeLessThanOrEqual(1024);
  });

  fuzz("a remote image is what its text says again", text, async (input) => {
    const image = await unlessRefused(["bad-reference"], () => parser.remoteImage(input, { tagOption: "allow" }));
    if (image === null) return;
    const again = parser.remoteImage(String(image), { tagOption: "allow" });
    expect(again.toJSON()).toEqual(image.toJSON());
    expect(JSON.stringify(image)).not.toMatch(/[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/);
  });

  fuzz("a local image is what its text says again", text, async (input) => {
    const image = await unlessRefused(["bad-reference"], () => parser.localImage(input));
    // With the tag that it gets it reads as a remote image too.
    if (image === null || image.name === "image") return;
    expect(parser.localImage(String(image)).toJSON()).toEqual(image.toJSON());
    const remote = await unlessRefused(["bad-reference"], () => parser.toRemote(image));
    if (remote !== null) expect(parser.toLocal(remote).tag).toBe(image.tag);
  });

  const digests = [`sha256:${hex}`, `sha512:${hex}${hex}`, "md5:d41d8cd98f00b204e9800998ecf8427e"];
  fuzz("a digest is exactly what it was", hostileText(digests), async (input) => {
    const digest = await unlessRefused(["bad-reference"], () => parseDigest(input));
    if (digest !== null) {
      expect(digest).toBe(input);
      expect(digest).toMatch(/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/);
    }
  });

  const platforms = ["linux/amd64", "linux/arm/v7", "arm64", "windows/amd64", "linux/aarch64", "linux/constructor"];
  fuzz("a platform is what its text says again", hostileText(platforms), async (input) => {
    const platform = await unlessRefused(["usage"], () => parsePlatform(input));
    if (platform !== null) expect(parsePlatform(formatPlatform(platform))).toEqual(platform);
  });
});
