import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import { LocalImage } from "./local-image.js";
import { type NeuroImageOptions, RemoteImage, type RemoteImageFields, wireName } from "./remote-image.js";

const sha = `sha256:${"a1".repeat(32)}`;
const registry = "registry.main.example";
const ofMain = { owner: "bob", clusterName: "main" };

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isLadingError(error)) return error.code;
    throw error;
  }
  return "nothing thrown";
}

describe("RemoteImage", () => {
  it("of the platform has all fields, null where empty", () => {
    const image = RemoteImage.newNeuroImage("a/b", registry, ofMain);
    const json = {
      name: "a/b",
      tag: null,
      digest: null,
      owner: "bob",
      orgName: null,
      registry,
      clusterName: "main",
    };
    expect(image.toJSON()).toEqual(json);
    expect(Object.keys(image.toJSON())).toEqual(Object.keys(json));
    expect({ ...image }).toEqual(json);
    expect(JSON.parse(JSON.stringify(image))).toEqual(json);
  });

  it.each<readonly [RemoteImageFields, string, string]>([
    [{ name: "a", registry, ...ofMain }, "image://main/bob/a", "registry.main.example/bob/a"],
    [{ name: "a", registry, ...ofMain, tag: "v1" }, "image://main/bob/a:v1", "registry.main.example/bob/a:v1"],
    [
      { name: "a", registry, ...ofMain, orgName: "acme" },
      "image://main/acme/bob/a",
      "registry.main.example/acme/bob/a",
    ],
    [
      { name: "a", registry, ...ofMain, digest: sha },
      `image://main/bob/a@${sha}`,
      `registry.main.example/bob/a@${sha}`,
    ],
    [{ name: "a", tag: "v1", digest: sha }, `a:v1@${sha}`, `a:v1@${sha}`],
    [{ name: "o/a", registry: "quay.io", tag: "v1" }, "quay.io/o/a:v1", "quay.io/o/a:v1"],
    [{ name: "o/a", registry: "Quay.IO:443" }, "quay.io:443/o/a", "quay.io:443/o/a"],
    [{ name: "image", tag: "v1" }, "docker.io/library/image:v1", "docker.io/library/image:v1"],
    [{ name: "image" }, "image", "image"],
    [{ name: "sha256", tag: "a1".repeat(32) }, `docker.io/library/${sha}`, `docker.io/library/${sha}`],
  ])("%j prints as %s and is %s to Docker", (fields, text, dockerUrl) => {
    expect(new RemoteImage(fields).toString()).toBe(text);
    expect(new RemoteImage(fields).asDockerUrl()).toBe(dockerUrl);
  });

  it("asDockerUrl puts the scheme before an image of the platform alone", () => {
    const image = RemoteImage.newNeuroImage("a", "localhost:5000", { ...ofMain, tag: "t", scheme: "http" });
    expect(image.asDockerUrl({ withScheme: true })).toBe("http://localhost:5000/bob/a:t");
    expect(image.asDockerUrl(true)).toBe("http://localhost:5000/bob/a:t");
    expect(image.asDockerUrl(false)).toBe("localhost:5000/bob/a:t");
    expect(image.asDockerUrl({})).toBe("localhost:5000/bob/a:t");
    expect(image.asDockerUrl({ withScheme: null })).toBe("localhost:5000/bob/a:t");
    expect(image.asDockerUrl(null)).toBe("localhost:5000/bob/a:t");
    expect(RemoteImage.newNeuroImage("a", registry, ofMain).asDockerUrl(true)).toBe(
      "https://registry.main.example/bob/a",
    );
    expect(RemoteImage.newExternalImage("o/a", "quay.io").asDockerUrl(true)).toBe("quay.io/o/a");
  });

  it("has its scheme as no part of equality, JSON or keys", () => {
    const http = RemoteImage.newNeuroImage("a", registry, { ...ofMain, scheme: "http" });
    const https = RemoteImage.newNeuroImage("a", registry, ofMain);
    expect([http.scheme, https.scheme]).toEqual(["http", "https"]);
    expect(http.equals(https)).toBe(true);
    expect(http.toJSON()).toEqual(https.toJSON());
    expect(Object.keys(http)).not.toContain("scheme");
    expect(inspect(http)).not.toContain("http");
    expect(http.withTag("v1").scheme).toBe("http");
    expect(RemoteImage.from(http)).toBe(http);
  });

  it.each<readonly [string, Partial<RemoteImageFields>]>([
    ["required registry: with an owner", { owner: "bob" }],
    ["required registry: with a cluster", { clusterName: "main" }],
    ["required registry: with both", ofMain],
    ["required registry: with an organisation", { orgName: "acme" }],
    ["required cluster name", { registry, owner: "bob" }],
    ["required owner", { registry, clusterName: "main" }],
    ["required owner: with an organisation", { registry, orgName: "acme" }],
    ["a registry with a scheme", { registry: `https://${registry}`, ...ofMain }],
    ["a registry with a path", { registry: `${registry}/v2`, ...ofMain }],
    ["a registry with a user", { registry: `u@${registry}`, ...ofMain }],
    ["an external registry that reads as a name", { registry: "myhost" }],
    ["an empty registry", { registry: "" }],
    ["an owner of two components", { registry, owner: "bob/x", clusterName: "main" }],
    ["an empty owner", { registry, owner: "", clusterName: "main" }],
    ["an upper-case owner", { registry, owner: "Bob", clusterName: "main" }],
    ["an organisation that is none", { registry, ...ofMain, orgName: "a b" }],
    ["a cluster with a slash", { registry, owner: "bob", clusterName: "a/b" }],
    ["an empty name", { name: "" }],
    ["an upper-case name", { name: "App" }],
    ["a name with a tag", { name: "a:v1" }],
    ["a name with a digest", { name: `a@${sha}` }],
    ["a name with a registry", { name: "quay.io/o/a" }],
    ["a name that is no string", { name: 7 as unknown as string }],
    ["an empty tag", { tag: "" }],
    ["a tag that is none", { tag: "a/b" }],
    ["a digest that is none", { digest: "sha256:abc" }],
    ["a name too long with its registry", { registry, ...ofMain, name: "n".repeat(240) }],
  ])("refuses %s", (_why, fields) => {
    expect(codeOf(() => new RemoteImage({ name: "a", ...fields }))).toBe("bad-reference");
    expect(codeOf(() => RemoteImage.from({ name: "a", registry: null, ...fields }))).toBe("bad-reference");
  });

  it("newNeuroImage is of the platform or nothing", () => {
    const lacking = (fields: object) => fields as unknown as NeuroImageOptions;
    expect(codeOf(() => RemoteImage.newNeuroImage("a", registry, lacking({})))).toBe("bad-reference");
    expect(codeOf(() => RemoteImage.newNeuroImage("a", registry, lacking({ owner: "bob" })))).toBe("bad-reference");
    expect(codeOf(() => RemoteImage.newNeuroImage("a", registry, lacking({ clusterName: "main" })))).toBe(
      "bad-reference",
    );
    expect(codeOf(() => RemoteImage.newNeuroImage("a", null as unknown as string, ofMain))).toBe("bad-reference");
    const nulls = { ...ofMain, orgName: null, tag: null, digest: null, scheme: null };
    expect(RemoteImage.newNeuroImage("a", registry, nulls).toString()).toBe("image://main/bob/a");
  });

  it("withTag copies all but the digest and checks the tag", () => {
    const image = RemoteImage.newNeuroImage("a", registry, { ...ofMain, orgName: "acme", digest: sha });
    const tagged = image.withTag("v2");
    expect(tagged.toJSON()).toEqual({ ...image.toJSON(), tag: "v2", digest: null });
    expect(image.tag).toBeNull();
    expect(codeOf(() => image.withTag("a b"))).toBe("bad-reference");
    expect(codeOf(() => image.withTag(null as unknown as string))).toBe("bad-reference");
  });

  it("is frozen and equal by value, also to another copy's", () => {
    const image = RemoteImage.newExternalImage("a", null, { tag: "v1" });
    expect(Object.isFrozen(image)).toBe(true);
    expect(image.equals(RemoteImage.newExternalImage("a", undefined, { tag: "v1", digest: null }))).toBe(true);
    expect(image.equals(image.toJSON())).toBe(true);
    for (const other of [null, undefined, "a:v1", 7, {}, image.withTag("v2"), new LocalImage("a", "v1")]) {
      expect(image.equals(other)).toBe(false);
    }
  });

  it("from takes values of another copy by shape and refuses the rest", () => {
    const image = RemoteImage.newNeuroImage("a", registry, { ...ofMain, tag: "v1" });
    const copy = RemoteImage.from(image.toJSON());
    expect(copy).toBeInstanceOf(RemoteImage);
    expect(copy.equals(image)).toBe(true);
    for (const other of [null, undefined, "a:v1", 7, {}, [], new LocalImage("a", "v1")]) {
      expect(codeOf(() => RemoteImage.from(other))).toBe("bad-reference");
    }
  });
});

describe("wireName", () => {
  it.each<readonly [RemoteImageFields, string, string, string | null]>([
    [{ name: "ubuntu" }, "docker.io", "library/ubuntu", null],
    [{ name: "ubuntu", tag: "22.04" }, "docker.io", "library/ubuntu", "22.04"],
    [{ name: "bob/app", tag: "1", digest: sha }, "docker.io", "bob/app", sha],
    [{ name: "ubuntu", registry: "docker.io" }, "docker.io", "library/ubuntu", null],
    [{ name: "library/ubuntu", registry: "index.docker.io" }, "docker.io", "library/ubuntu", null],
    [{ name: "bob/app", registry: "registry-1.docker.io" }, "docker.io", "bob/app", null],
    [{ name: "app", registry: "quay.io" }, "quay.io", "app", null],
    [{ name: "app", registry: "localhost:5000", tag: "1" }, "localhost:5000", "app", "1"],
    [{ name: "a", registry, ...ofMain, tag: "1" }, registry, "bob/a", "1"],
    [{ name: "a", registry, ...ofMain, orgName: "acme", tag: "1" }, registry, "acme/bob/a", "1"],
  ])("%j", (fields, host, repository, reference) => {
    expect(wireName(new RemoteImage(fields))).toEqual({ registry: host, repository, reference });
  });
});
