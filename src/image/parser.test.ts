/** Each row, refusal and invariant of the design's names.md; longer than other tests since the tables are the specification. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLadingError, LadingError } from "../errors.js";
import { LocalImage } from "./local-image.js";
import { type NameContext, Parser } from "./parser.js";
import { RemoteImage, wireName } from "./remote-image.js";
import type { TagOption } from "./tag.js";

const sha = `sha256:${"a1".repeat(32)}`;
const sha512 = `sha512:${"b2".repeat(64)}`;
const clusters = {
  main: "https://registry.main.example",
  other: "https://registry.other.example:8443",
  local: "http://localhost:5000",
};
const plain: NameContext = { clusters, cluster: "main", owner: "alice", org: null };
const acme: NameContext = { ...plain, org: "acme" };

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isLadingError(error)) return error.code;
    throw error;
  }
  return "nothing thrown";
}

describe("a local image", () => {
  const accepted: readonly (readonly [string, string, string])[] = [
    ["ubuntu", "ubuntu", "latest"],
    ["ubuntu:22.04", "ubuntu", "22.04"],
    ["a", "a", "latest"],
    ["0", "0", "latest"],
    ["library/ubuntu:v1", "library/ubuntu", "v1"],
    ["localhost:5000/bob/ubuntu:v1", "localhost:5000/bob/ubuntu", "v1"],
    ["localhost:5000/ubuntu", "localhost:5000/ubuntu", "latest"],
    ["localhost/ubuntu:v1", "localhost/ubuntu", "v1"],
    ["localhost:5000", "localhost", "5000"],
    ["quay.io/org/app:v2", "quay.io/org/app", "v2"],
    ["Quay.IO/org/app:v2", "Quay.IO/org/app", "v2"],
    ["registry.main.example/bob/ubuntu", "registry.main.example/bob/ubuntu", "latest"],
    ["a__b:1", "a__b", "1"],
    ["a--b:1", "a--b", "1"],
    ["a-----b", "a-----b", "latest"],
    ["app:V1.2-rc_3", "app", "V1.2-rc_3"],
    ["app:_", "app", "_"],
    [`app:${"t".repeat(128)}`, "app", "t".repeat(128)],
    ["n".repeat(255), "n".repeat(255), "latest"],
    ["[::1]:5000/app:v1", "[::1]:5000/app", "v1"],
    ["10.0.0.1/app", "10.0.0.1/app", "latest"],
    ["image", "image", "latest"],
    ["image/x:v1", "image/x", "v1"],
    ["sha256:abc", "sha256", "abc"],
    ["docker.io/library/ubuntu:v1", "docker.io/library/ubuntu", "v1"],
  ];
  it.each(accepted)("%s", (text, name, tag) => {
    const image = new Parser(plain).localImage(text);
    expect(image.toJSON()).toEqual({ name, tag });
  });

  it.each([
    ["empty", ""],
    ["a leading -", "-ubuntu"],
    ["a leading - alone", "-"],
    ["an option", "--help"],
    ["the scheme image:", "image:ubuntu"],
    ["the scheme image: with a cluster", "image://main/bob/ubuntu:v1"],
    ["the scheme image: alone", "image:"],
    ["the ambiguous one", "image:latest"],
    ["empty name", ":latest"],
    ["empty tag", "ubuntu:"],
    ["empty tag after a path", "a/b:"],
    ["a:b:c", "a:b:c"],
    ["two tags after a host", "localhost:5000/a:b:c"],
    ["upper case", "Ubuntu"],
    ["upper case in a path", "bob/Ubuntu:v1"],
    ["upper case first component", "Bob/ubuntu"],
    ["a tag longer than 128", `app:${"t".repeat(129)}`],
    ["a name longer than 255", "n".repeat(256)],
    ["a leading slash", "/ubuntu"],
    ["a port that is none", "host:x/ubuntu"],
    ["a port and no path", "host:5000/"],
    ["a port of 0", "host:0/ubuntu"],
    ["a port too large", "host:65536/ubuntu"],
    ["an empty port", "host:/ubuntu"],
    ["a host and no name", "localhost/"],
    ["a trailing slash", "ubuntu/"],
    ["a double slash", "a//b"],
    ["an image ID", sha],
    ["a digest", `ubuntu@${sha}`],
    ["a digest beside a tag", `ubuntu:v1@${sha}`],
    ["white space", "ubuntu latest"],
    ["a leading space", " ubuntu"],
    ["a newline", "ubuntu\n"],
    ["NUL", "ubuntu\0"],
    ["a single letter other than ASCII", "ubuntü"],
    ["three underscores", "a___b"],
    ["two dots", "a..b"],
    ["dot and dash", "a.-b"],
    ["leading dot", ".a"],
    ["trailing dash", "a-"],
    ["a path upwards", "../a"],
    ["a path upwards within", "a/../b"],
    ["a tag with a leading dot", "a:.b"],
    ["a tag with a leading dash", "a:-b"],
    ["a tag with a slash", "a:b/c"],
    ["an underscore in a host", "a_b.c/d"],
    ["a URL", "https://quay.io/org/app"],
    ["docker://", "docker://ubuntu"],
    ["one megabyte", "a".repeat(1_000_000)],
    ["one megabyte of colons", ":".repeat(1_000_000)],
    ["one megabyte of a host", `${"a.".repeat(500_000)}/b`],
  ])("refuses %s", (_why, text) => {
    expect(codeOf(() => new Parser(plain).localImage(text))).toBe("bad-reference");
  });

  it.each<readonly [string, TagOption, string | null]>([
    ["app", "default", "latest"],
    ["app", "allow", null],
    ["app", "deny", null],
    ["app:v1", "default", "v1"],
    ["app:v1", "allow", "v1"],
  ])("%s with tagOption %s has tag %s", (text, tagOption, tag) => {
    expect(new Parser(plain).localImage(text, { tagOption }).tag).toBe(tag);
  });

  it("refuses a tag where it is denied", () => {
    expect(codeOf(() => new Parser(plain).localImage("app:v1", { tagOption: "deny" }))).toBe("bad-reference");
  });

  it("takes null for an option left out", () => {
    expect(new Parser(plain).localImage("app", { tagOption: null }).tag).toBe("latest");
    expect(new Parser(plain).localImage("app", null).tag).toBe("latest");
  });
});

describe("a remote image of the platform", () => {
  const rows: readonly (readonly [text: string, withoutOrg: string, withOrg: string])[] = [
    ["image:ubuntu:v1", "image://main/alice/ubuntu:v1", "image://main/acme/alice/ubuntu:v1"],
    ["image:ubuntu", "image://main/alice/ubuntu:latest", "image://main/acme/alice/ubuntu:latest"],
    ["image:a/b:v1", "image://main/alice/a/b:v1", "image://main/acme/alice/a/b:v1"],
    ["image:/bob/ubuntu:v1", "image://main/bob/ubuntu:v1", "image://main/acme/bob/ubuntu:v1"],
    ["image:///bob/ubuntu", "image://main/bob/ubuntu:latest", "image://main/acme/bob/ubuntu:latest"],
    ["image:///bob/ubuntu:v1", "image://main/bob/ubuntu:v1", "image://main/acme/bob/ubuntu:v1"],
    ["image:/bob/a/b", "image://main/bob/a/b:latest", "image://main/acme/bob/a/b:latest"],
    ["image:/acme/bob/a:1", "image://main/acme/bob/a:1", "image://main/acme/acme/bob/a:1"],
    ["image://other/bob/a/b:v1", "image://other/bob/a/b:v1", "image://other/bob/a/b:v1"],
    ["image://main/acme/bob/ubuntu:v1", "image://main/acme/bob/ubuntu:v1", "image://main/acme/bob/ubuntu:v1"],
    ["image://main/acme/x:1", "image://main/acme/x:1", "image://main/acme/x:1"],
    ["image://local/alice/x:1", "image://local/alice/x:1", "image://local/alice/x:1"],
    ["registry.main.example/bob/ubuntu:v1", "image://main/bob/ubuntu:v1", "image://main/bob/ubuntu:v1"],
    ["Registry.Main.Example/bob/ubuntu:v1", "image://main/bob/ubuntu:v1", "image://main/bob/ubuntu:v1"],
    ["registry.main.example/bob/ubuntu", "image://main/bob/ubuntu:latest", "image://main/bob/ubuntu:latest"],
    ["registry.main.example/acme/bob/a:1", "image://main/acme/bob/a:1", "image://main/acme/bob/a:1"],
    ["registry.other.example:8443/bob/a/b:1", "image://other/bob/a/b:1", "image://other/bob/a/b:1"],
    ["localhost:5000/bob/a:1", "image://local/bob/a:1", "image://local/bob/a:1"],
    [`image:ubuntu@${sha}`, `image://main/alice/ubuntu@${sha}`, `image://main/acme/alice/ubuntu@${sha}`],
    [`image:u:v1@${sha512}`, `image://main/alice/u:v1@${sha512}`, `image://main/acme/alice/u:v1@${sha512}`],
    [`localhost:5000/bob/a@${sha}`, `image://local/bob/a@${sha}`, `image://local/bob/a@${sha}`],
    ["image:image:latest", "image://main/alice/image:latest", "image://main/acme/alice/image:latest"],
    ["image:latest:latest", "image://main/alice/latest:latest", "image://main/acme/alice/latest:latest"],
    ["image:quay.io/x:1", "image://main/alice/quay.io/x:1", "image://main/acme/alice/quay.io/x:1"],
    ["image:a__b--c:1", "image://main/alice/a__b--c:1", "image://main/acme/alice/a__b--c:1"],
  ];
  it.each(rows)("%s", (text, withoutOrg, withOrg) => {
    expect(new Parser(plain).remoteImage(text).toString()).toBe(withoutOrg);
    expect(new Parser(acme).remoteImage(text).toString()).toBe(withOrg);
  });

  it("has the fields that the table says under a current organisation", () => {
    const parser = new Parser(acme);
    const image = parser.remoteImage("image://main/acme/bob/ubuntu:v1");
    expect(image.toJSON()).toEqual({
      name: "ubuntu",
      tag: "v1",
      digest: null,
      owner: "bob",
      orgName: "acme",
      registry: "registry.main.example",
      clusterName: "main",
    });
    expect(new Parser(plain).remoteImage("image://main/acme/bob/ubuntu:v1")).toMatchObject({
      owner: "acme",
      orgName: null,
      name: "bob/ubuntu",
    });
    expect(parser.remoteImage("image://other/bob/a/b:v1")).toMatchObject({ owner: "bob", orgName: null, name: "a/b" });
    expect(parser.remoteImage("image://other/acme/bob/a")).toMatchObject({ owner: "bob", orgName: "acme", name: "a" });
    expect(parser.remoteImage("image://main/acme/x")).toMatchObject({ owner: "acme", orgName: null, name: "x" });
    expect(parser.remoteImage("registry.main.example/acme/bob/a")).toMatchObject({ owner: "bob", orgName: "acme" });
  });

  it("keeps the scheme of the cluster's URL beside the value", () => {
    const image = new Parser(plain).remoteImage("image://local/bob/a:1");
    expect(image.asDockerUrl(true)).toBe("http://localhost:5000/bob/a:1");
    expect(new Parser(plain).remoteImage("image:a:1").asDockerUrl(true)).toBe(
      "https://registry.main.example/alice/a:1",
    );
  });

  it("takes the given cluster where the name has none", () => {
    const parser = new Parser(plain);
    expect(parser.remoteImage("image:a:1", { cluster: "other" }).toString()).toBe("image://other/alice/a:1");
    expect(parser.remoteImage("image:/bob/a:1", { cluster: "other" }).toString()).toBe("image://other/bob/a:1");
    expect(parser.remoteImage("image://main/bob/a:1", { cluster: "other" }).toString()).toBe("image://main/bob/a:1");
    expect(parser.remoteImage("image:a:1", { cluster: null }).clusterName).toBe("main");
    expect(codeOf(() => parser.remoteImage("image:a:1", { cluster: "nowhere" }))).toBe("bad-reference");
  });

  it("prefers the current cluster where two have one registry", () => {
    const shared = { a: "https://r.example", b: "https://r.example" };
    const parser = new Parser({ clusters: shared, cluster: "b", owner: "alice", org: null });
    expect(parser.remoteImage("r.example/bob/x").clusterName).toBe("b");
  });

  it.each([
    ["no name", "image:"],
    ["no name under the root", "image:/"],
    ["no name after an owner", "image:/bob"],
    ["no name after an owner and a slash", "image:/bob/"],
    ["a cluster alone", "image://main"],
    ["a cluster and a slash", "image://main/"],
    ["a cluster and an owner", "image://main/bob"],
    ["a cluster, an owner and a tag", "image://main/bob:v1"],
    ["three slashes", "image:///"],
    ["four slashes", "image:////bob/a"],
    ["a registry and a name", "registry.main.example/ubuntu"],
    ["a registry alone", "registry.main.example/"],
    ["a tag alone", "image::v1"],
    ["a tag after a slash", "image://main/bob/:v1"],
    ["an empty tag", "image:a:"],
    ["a query", "image:a?x=y"],
    ["an empty query", "image:a?"],
    ["a fragment", "image:a#x"],
    ["an empty fragment", "image:a#"],
    ["a query after a cluster", "image://main/bob/a?"],
    ["a fragment after a cluster", "image://main/bob/a#"],
    ["a user", "image://alice@main/bob/a"],
    ["a user and password", "image://alice:secret@main/bob/a"],
    ["a port", "image://main:80/bob/a"],
    ["an empty port", "image://main:/bob/a"],
    ["an unknown cluster", "image://nowhere/bob/a"],
    ["a cluster by another case", "image://MAIN/bob/a"],
    ["a cluster of the object's prototype", "image://__proto__/bob/a"],
    ["another one", "image://constructor/bob/a"],
    ["more than one tag", "image:a:b:c"],
    ["more than one tag after a cluster", "image://main/bob/a:b:c"],
    ["more than one tag after a registry", "registry.main.example/bob/a:b:c"],
    ["the ambiguous one", "image:latest"],
    ["upper case", "image:Ubuntu"],
    ["upper case owner", "image:/Bob/ubuntu"],
    ["an escape", "image:ub%75ntu"],
    ["a path upwards", "image:../a"],
    ["a path upwards after a registry", "registry.main.example/../a"],
    ["a double slash", "image:a//b"],
    ["a bad digest", "image:a@sha256:abc"],
    ["an unknown digest", `image:a@md5:${"0".repeat(32)}`],
    ["two digests", `image:a@${sha}@${sha}`],
    ["an upper-case digest", `image:a@sha256:${"A1".repeat(32)}`],
    ["an empty digest", "image:a@"],
    ["a digest and no name", `image:@${sha}`],
    ["a name too long with its registry", `image:${"n".repeat(240)}`],
    ["a name too long", `image:${"n".repeat(256)}`],
    ["a tag too long", `image:a:${"t".repeat(129)}`],
    ["white space", "image: a"],
    ["one megabyte", `image:${"a/".repeat(500_000)}a`],
  ])("refuses %s", (_why, text) => {
    expect(codeOf(() => new Parser(plain).remoteImage(text))).toBe("bad-reference");
  });
});

describe("an external image", () => {
  const rows: readonly (readonly [text: string, registry: string | null, name: string, tag: string | null])[] = [
    ["ubuntu:22.04", null, "ubuntu", "22.04"],
    ["ubuntu", null, "ubuntu", "latest"],
    ["library/ubuntu", null, "library/ubuntu", "latest"],
    ["bob/app:1", null, "bob/app", "1"],
    ["quay.io/org/app:v2", "quay.io", "org/app", "v2"],
    ["Quay.IO/org/app:v2", "quay.io", "org/app", "v2"],
    ["example.org:4443/o/app", "example.org:4443", "o/app", "latest"],
    ["localhost:5001/app", "localhost:5001", "app", "latest"],
    ["localhost/app:1", "localhost", "app", "1"],
    ["registry.main.example:443/bob/a:1", "registry.main.example:443", "bob/a", "1"],
    ["registry.main.example.org/bob/a:1", "registry.main.example.org", "bob/a", "1"],
    ["xregistry.main.example/bob/a:1", "xregistry.main.example", "bob/a", "1"],
    ["localhost:50001/bob/a:1", "localhost:50001", "bob/a", "1"],
    ["[::1]:5000/app:1", "[::1]:5000", "app", "1"],
    ["docker.io/library/ubuntu:1", "docker.io", "library/ubuntu", "1"],
    ["image/app:1", null, "image/app", "1"],
    ["a--b/c__d:1", null, "a--b/c__d", "1"],
  ];
  it.each(rows)("%s", (text, registry, name, tag) => {
    const image = new Parser(plain).remoteImage(text);
    expect(image.toJSON()).toEqual({
      name,
      tag,
      digest: null,
      owner: null,
      orgName: null,
      registry,
      clusterName: null,
    });
  });

  it("has a digest, with a tag beside it or without", () => {
    const parser = new Parser(plain);
    expect(parser.remoteImage(`quay.io/o/a@${sha}`)).toMatchObject({ registry: "quay.io", tag: null, digest: sha });
    expect(parser.remoteImage(`ubuntu:v1@${sha}`)).toMatchObject({ registry: null, tag: "v1", digest: sha });
  });

  it.each([
    ["empty", ""],
    ["a leading -", "-ubuntu"],
    ["an empty tag", "ubuntu:"],
    ["an empty name", ":v1"],
    ["two tags", "a:b:c"],
    ["upper case", "Ubuntu"],
    ["upper case in a path", "quay.io/Org/app"],
    ["a leading slash", "/ubuntu"],
    ["a host and no name", "quay.io/"],
    ["a port that is none", "host:x/app"],
    ["an image ID", sha],
    ["a digest alone", `@${sha}`],
    ["a URL", "https://quay.io/org/app"],
    ["another scheme", "docker://quay.io/org/app"],
    ["upper-case scheme", "IMAGE:a"],
    ["a user", "user@quay.io/org/app"],
    ["a query", "quay.io/org/app?x"],
    ["a name that the default tag makes ambiguous", "image"],
    ["too long with its registry", `quay.io/${"n".repeat(250)}`],
    ["white space", "ubuntu "],
  ])("refuses %s", (_why, text) => {
    expect(codeOf(() => new Parser(plain).remoteImage(text))).toBe("bad-reference");
  });
});

describe("tagOption of a remote image", () => {
  const named = ["image:a", "image://main/bob/a", "registry.main.example/bob/a", "ubuntu", "quay.io/o/a"];
  it.each(named)("%s", (text) => {
    const parser = new Parser(plain);
    expect(parser.remoteImage(text).tag).toBe("latest");
    expect(parser.remoteImage(text, { tagOption: "default" }).tag).toBe("latest");
    expect(parser.remoteImage(text, { tagOption: "allow" }).tag).toBeNull();
    expect(parser.remoteImage(text, { tagOption: "deny" }).tag).toBeNull();
    expect(parser.remoteImage(`${text}:v1`, { tagOption: "allow" }).tag).toBe("v1");
    expect(codeOf(() => parser.remoteImage(`${text}:v1`, { tagOption: "deny" }))).toBe("bad-reference");
    expect(codeOf(() => parser.remoteImage(`${text}@${sha}`, { tagOption: "deny" }))).toBe("bad-reference");
    expect(parser.remoteImage(`${text}@${sha}`).tag).toBeNull();
    expect(parser.remoteImage(`${text}@${sha}`, { tagOption: "allow" }).tag).toBeNull();
    expect(parser.remoteImage(`${text}:v1@${sha}`).tag).toBe("v1");
    expect(codeOf(() => parser.remoteImage(text, { tagOption: "never" as TagOption }))).toBe("usage");
  });
});

describe("what the context lacks", () => {
  const nobody = new Parser({ ...plain, owner: null });
  it("is config-invalid where an owner is needed, and only there", () => {
    expect(codeOf(() => nobody.remoteImage("image:a"))).toBe("config-invalid");
    expect(codeOf(() => nobody.toRemote(new LocalImage("a")))).toBe("config-invalid");
    expect(nobody.remoteImage("image:/bob/a:1").owner).toBe("bob");
    expect(nobody.remoteImage("ubuntu:1").owner).toBeNull();
    try {
      nobody.remoteImage("image:a");
    } catch (error) {
      const { hint } = error as LadingError;
      for (const way of ["--owner", "LADING_OWNER", "owner ="]) expect(hint).toContain(way);
    }
  });

  it("needs no cluster for an external name", () => {
    const parser = new Parser({ clusters: {}, cluster: "main", owner: null, org: null });
    expect(parser.remoteImage("quay.io/o/a:1").toString()).toBe("quay.io/o/a:1");
    expect(codeOf(() => parser.remoteImage("image:a"))).toBe("bad-reference");
  });

  it("is config-invalid for an owner, organisation or URL that can be none", () => {
    expect(codeOf(() => new Parser({ ...plain, owner: "Al ice" }).remoteImage("image:a"))).toBe("config-invalid");
    expect(codeOf(() => new Parser({ ...plain, org: "A/B" }).remoteImage("image:a"))).toBe("config-invalid");
    for (const url of [
      "registry.example",
      "ftp://r.example",
      "https://",
      "https://u:p@r.example",
      "https://r.example/v2",
    ]) {
      expect(codeOf(() => new Parser({ ...plain, clusters: { main: url } }))).toBe("config-invalid");
    }
  });
});

describe("from local to remote", () => {
  const rows: readonly (readonly [name: string, withoutOrg: string, withOrg: string])[] = [
    ["ubuntu", "image://main/alice/ubuntu:t", "image://main/acme/alice/ubuntu:t"],
    ["a/b", "image://main/alice/a/b:t", "image://main/acme/alice/a/b:t"],
    ["localhost/app", "image://main/alice/app:t", "image://main/acme/alice/app:t"],
    ["localhost/a/b", "image://main/alice/a/b:t", "image://main/acme/alice/a/b:t"],
    ["registry.main.example/bob/a", "image://main/bob/a:t", "image://main/bob/a:t"],
    ["registry.main.example/a", "image://main/alice/a:t", "image://main/acme/alice/a:t"],
    ["registry.main.example/acme/bob/a", "image://main/acme/bob/a:t", "image://main/acme/bob/a:t"],
    ["registry.main.example/acme/a", "image://main/acme/a:t", "image://main/acme/a:t"],
    ["registry.other.example:8443/bob/a/b", "image://other/bob/a/b:t", "image://other/bob/a/b:t"],
    ["localhost:5000/bob/a", "image://local/bob/a:t", "image://local/bob/a:t"],
  ];
  it.each(rows)("%s", (name, withoutOrg, withOrg) => {
    const local = new LocalImage(name, "t");
    expect(new Parser(plain).toRemote(local).toString()).toBe(withoutOrg);
    expect(new Parser(acme).toRemote(local).toString()).toBe(withOrg);
  });

  it("recognises the current organisation as parsing does", () => {
    const parser = new Parser(acme);
    const image = parser.toRemote(new LocalImage("registry.main.example/acme/bob/a", "t"));
    expect(image).toMatchObject({ orgName: "acme", owner: "bob", name: "a" });
    expect(image.equals(parser.remoteImage("registry.main.example/acme/bob/a:t"))).toBe(true);
  });

  it("keeps a missing tag missing", () => {
    expect(new Parser(plain).toRemote(new LocalImage("a")).tag).toBeNull();
  });

  it("takes a value of another copy by its shape", () => {
    const other = { name: "a", tag: "t", toString: () => "a:t" } as unknown as LocalImage;
    expect(new Parser(plain).toRemote(other).toString()).toBe("image://main/alice/a:t");
  });

  it.each(["quay.io/org/app", "localhost:5001/app", "docker.io/library/ubuntu", "example.org:4443/o/app"])(
    "refuses %s with both readings, unless told to drop the registry",
    (name) => {
      const parser = new Parser(plain);
      const local = new LocalImage(name, "v2");
      const path = name.slice(name.indexOf("/") + 1);
      try {
        parser.toRemote(local);
        expect.unreachable();
      } catch (error) {
        expect((error as LadingError).code).toBe("bad-reference");
        expect((error as LadingError).message).toContain(`image://main/alice/${path}:v2`);
        expect((error as LadingError).message).toContain(`${name}:v2`);
      }
      expect(parser.toRemote(local, { dropRegistry: true }).toString()).toBe(`image://main/alice/${path}:v2`);
    },
  );
});

describe("from remote to local", () => {
  it.each([
    ["image://main/bob/a/b:v1", "a/b:v1"],
    ["image:ubuntu", "ubuntu:latest"],
    ["quay.io/org/app:v2", "quay.io/org/app:v2"],
    ["example.org:4443/o/app:1", "example.org:4443/o/app:1"],
    ["ubuntu:22.04", "ubuntu:22.04"],
    [`image:a@${sha}`, "a:a1a1a1a1a1a1"],
    [`quay.io/o/a:v1@${sha}`, "quay.io/o/a:v1"],
  ])("%s is %s", (text, local) => {
    expect(new Parser(plain).toLocal(new Parser(plain).remoteImage(text)).toString()).toBe(local);
  });

  it("keeps a missing tag missing", () => {
    expect(new Parser(plain).toLocal(RemoteImage.newExternalImage("a")).tag).toBeNull();
  });
});

describe("for all input", () => {
  const names = fc.constantFrom(
    "alice",
    "bob",
    "acme",
    "main",
    "other",
    "ubuntu",
    "a__b",
    "a--b",
    "x.y",
    "image",
    "latest",
    "localhost",
  );
  const hosts = fc.constantFrom(
    "",
    "image:",
    "image:/",
    "image:///",
    "image://main/",
    "image://other/",
    "registry.main.example/",
    "localhost:5000/",
    "quay.io/",
    "localhost/",
  );
  const tails = fc.constantFrom("", ":v1", ":latest", `@${sha}`, `:v1@${sha}`, ":", ":a:b", "?", "#");
  const nearly = fc
    .tuple(hosts, fc.array(names, { minLength: 0, maxLength: 5 }), tails)
    .map(([host, path, tail]) => `${host}${path.join("/")}${tail}`);
  const soup = fc.string({ unit: fc.constantFrom(..."ab0AZ:/@.-_?#%[] \n\0é image:"), maxLength: 40 });
  const anyText = fc.oneof(nearly, soup, fc.string({ unit: "binary", maxLength: 60 }));
  const contexts = fc.record({
    clusters: fc.constant(clusters),
    cluster: fc.constantFrom("main", "other", "local"),
    owner: fc.constantFrom("alice", "bob", "acme", null),
    org: fc.constantFrom("acme", "alice", "ubuntu", null),
  });
  const options = fc.constantFrom<TagOption | undefined>("default", "allow", "deny", undefined);

  it("nothing but a LadingError is thrown", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.anything()), contexts, options, (input, context, tagOption) => {
        const parser = new Parser(context);
        const text = input as string;
        for (const run of [
          () => parser.localImage(text, { tagOption }),
          () => parser.remoteImage(text, { tagOption }),
        ]) {
          try {
            run();
          } catch (error) {
            expect(error).toBeInstanceOf(LadingError);
            expect(["bad-reference", "config-invalid"]).toContain((error as LadingError).code);
          }
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("what was parsed and printed parses to an equal value", () => {
    let accepted = 0;
    fc.assert(
      fc.property(anyText, contexts, options, (text, context, tagOption) => {
        const parser = new Parser(context);
        let image: RemoteImage;
        try {
          image = parser.remoteImage(text, { tagOption });
        } catch {
          return;
        }
        accepted += 1;
        const again = parser.remoteImage(image.toString(), { tagOption: "allow" });
        expect(again.toJSON()).toEqual(image.toJSON());
        expect(again.equals(image)).toBe(true);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(300);
  });

  it("a value made by a constructor names one repository, however it is printed and read", () => {
    const tags = fc.option(fc.constantFrom("v1", "latest", "a1".repeat(32)), { nil: null });
    const digests = fc.option(fc.constant(sha), { nil: null });
    const repository = fc
      .array(fc.oneof(names, fc.constant("sha256")), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join("/"));
    const values = fc.oneof(
      fc
        .record({ name: repository, owner: names, org: fc.option(names, { nil: null }), tag: tags, digest: digests })
        .map(({ name, owner, org, tag, digest }) => {
          const known = { clusterName: "other", owner, orgName: org, tag, digest };
          return () => RemoteImage.newNeuroImage(name, "registry.other.example:8443", known);
        }),
      fc
        .record({
          name: repository,
          registry: fc.constantFrom(null, "quay.io", "docker.io", "localhost:5000", "localhost"),
          tag: tags,
          digest: digests,
        })
        .map(
          ({ name, registry, tag, digest }) =>
            () =>
              RemoteImage.newExternalImage(name, registry, { tag, digest }),
        ),
    );
    fc.assert(
      fc.property(values, contexts, (make, context) => {
        let image: RemoteImage;
        try {
          image = make();
        } catch (error) {
          expect(isLadingError(error)).toBe(true);
          return;
        }
        const parser = new Parser(context);
        for (const text of [image.toString(), image.asDockerUrl()]) {
          let again: RemoteImage;
          try {
            again = parser.remoteImage(text, { tagOption: "allow" });
          } catch {
            // An external image in a cluster's registry with one component: no image of the platform.
            expect(image.clusterName).toBeNull();
            continue;
          }
          expect(wireName(again)).toEqual(wireName(image));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("a local name that was parsed and printed parses to an equal value, but for `image`", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const parser = new Parser(plain);
        let image: LocalImage;
        try {
          image = parser.localImage(text);
        } catch {
          return;
        }
        if (image.name === "image") return;
        expect(parser.localImage(image.toString()).equals(image)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
