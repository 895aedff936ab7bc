import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import { mediaTypes } from "../../../src/oci/media-types.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

/** Manifests on their way in: their types, their content, their tags, their size. */
export const manifests: Area = ({ registry, client, point }) => {
  point(
    [
      "push-201",
      "push-location",
      "push-digest",
      "push-content",
      "Manifest put by tag",
      "Manifest put by digest",
      "trap-3",
    ],
    "a manifest is pushed by tag and by digest, of either algorithm",
    async () => {
      const { bytes, digest } = await client.pushImage("a/b", "v1", "x");
      const wide = digestOf(bytes, "sha512");
      for (const [reference, expected] of [
        ["v1", digest],
        [digest, digest],
        [wide, wide],
      ] as const) {
        const put = await client.putManifest("a/b", reference, bytes);
        expect([put.status, put.location]).toEqual([201, `/v2/a/b/manifests/${expected}`]);
        expect(put.headers["docker-content-digest"]).toBe(expected);
        const got = await registry.send("GET", put.location);
        expect([got.text, got.headers["docker-content-digest"]]).toEqual([bytes, expected]);
      }
    },
  );

  point(
    ["push-type-parameters", "manifest-type-bare"],
    "Docker's types are taken as OCI's are, parameters left aside",
    async () => {
      const image = await client.pushImage("a", null, "types");
      const { dockerManifest, dockerList } = mediaTypes;
      const bytes = JSON.stringify({ schemaVersion: 2, mediaType: dockerManifest, config: image.config, layers: [] });
      expect((await client.putManifest("a", "docker", bytes, `${dockerManifest}; charset=utf-8`)).status).toBe(201);
      const got = await registry.send("GET", "/v2/a/manifests/docker");
      expect([got.headers["content-type"], got.text]).toEqual([dockerManifest, bytes]);
      const entry = { mediaType: dockerManifest, digest: digestOf(bytes), size: bytes.length };
      const list = JSON.stringify({ schemaVersion: 2, mediaType: dockerList, manifests: [entry] });
      expect((await client.putManifest("a", "list", list, dockerList)).status).toBe(201);
      expect((await registry.send("HEAD", "/v2/a/manifests/list")).headers["content-type"]).toBe(dockerList);
    },
  );

  point(
    ["trap-8", "digest-invalid", "bad-digest-image", "push-reference"],
    "a manifest must be what it is said to be",
    async () => {
      const image = await client.pushImage("a", "v1", "truth");
      const other = await client.putManifest("a", missing, image.bytes);
      expect([other.status, other.code]).toEqual([400, "DIGEST_INVALID"]);
      for (const [bytes, type] of [
        ["no json", mediaTypes.ociManifest],
        ["", mediaTypes.ociManifest],
        ["{}", mediaTypes.ociManifest],
        ["[]", mediaTypes.ociManifest],
        [image.bytes, mediaTypes.ociIndex],
        [image.bytes, "text/html"],
        [`{"schemaVersion":2,"manifests":[],"x":${"[".repeat(40)}${"]".repeat(40)}}`, mediaTypes.ociIndex],
      ] as const) {
        const answer = await client.putManifest("a", "bad", bytes, type);
        expect([answer.status, answer.code]).toEqual([400, "MANIFEST_INVALID"]);
      }
      expect((await registry.send("GET", "/v2/a/manifests/bad")).status).toBe(404);
    },
  );

  point(["size-limit", "size-413", "size-4mb", "large-manifest"], "it may be 4 MiB large and no larger", async () => {
    const { config, layer } = await client.pushImage("a", "v1", "large");
    const sized = (size: number): string => {
      const make = (pad: string) => JSON.stringify({ schemaVersion: 2, config, layers: [layer], annotations: { pad } });
      return make("x".repeat(size - make("").length));
    };
    const largest = sized(4 * 1024 * 1024);
    expect((await client.putManifest("a", "large", largest)).status).toBe(201);
    expect((await registry.send("GET", "/v2/a/manifests/large")).text).toBe(largest);
    const tooLarge = await client.putManifest("a", "larger", sized(4 * 1024 * 1024 + 1));
    expect([tooLarge.status, tooLarge.code]).toEqual([413, "SIZE_INVALID"]);
    async function* endless(): AsyncIterable<Uint8Array> {
      while (true) yield Buffer.alloc(1024 * 1024, " ");
    }
    const type = { "content-type": mediaTypes.ociManifest };
    expect((await registry.send("PUT", "/v2/a/manifests/endless", endless(), type)).status).toBe(413);
  });

  point(["content-missing", "trap-10"], "it names only what its repository has", async () => {
    const image = await client.pushImage("a", "v1", "refs");
    const { ociIndex, ociManifest } = mediaTypes;
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [{ mediaType: ociManifest, digest: missing, size: 3 }],
    });
    const lacking = { ...image.layer, digest: missing };
    for (const [repository, bytes, type] of [
      ["b", image.bytes, ociManifest],
      ["a", index, ociIndex],
      ["a", JSON.stringify({ schemaVersion: 2, config: image.config, layers: [lacking] }), ociManifest],
      ["a", JSON.stringify({ schemaVersion: 2, config: lacking, layers: [] }), ociManifest],
      // only layers live elsewhere, and only where they say so
      [
        "a",
        JSON.stringify({ schemaVersion: 2, config: image.config, layers: [{ ...lacking, urls: ["https://a/"] }] }),
        ociManifest,
      ],
    ] as const) {
      const answer = await client.putManifest(repository, "v2", bytes, type);
      expect([answer.status, answer.code]).toEqual([400, "MANIFEST_BLOB_UNKNOWN"]);
      expect((await registry.send("GET", `/v2/${repository}/manifests/v2`)).status).toBe(404);
    }
  });

  point(
    ["trap-10", "trap-12", "no-layers", "empty-index", "data-field"],
    "foreign layers, nothing and what comes inline are fine",
    async () => {
      const { config, layer } = await client.pushImage("a", "v1", "foreign");
      const foreign = {
        mediaType: mediaTypes.ociForeignLayerGzip,
        digest: missing,
        size: 7,
        urls: ["https://example.org/"],
      };
      const inline = { ...layer, data: Buffer.from("layer foreign").toString("base64") };
      for (const layers of [[layer, foreign], [], [inline]]) {
        const bytes = JSON.stringify({ schemaVersion: 2, config, layers });
        expect((await client.putManifest("a", "v2", bytes)).status).toBe(201);
      }
      const empty = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] });
      expect((await client.putManifest("a", "v3", empty, mediaTypes.ociIndex)).status).toBe(201);
      const unnamed = await registry.send("PUT", "/v2/a/manifests/v4", empty);
      expect(unnamed.status).toBe(201);
    },
  );

  for (const algorithm of ["sha256", "sha512"] as const) {
    point(
      ["tag-parameters", "tag-accepted", "Manifest put with tag params"],
      `it gets many tags at once, by ${algorithm}`,
      async () => {
        const { bytes } = await client.pushImage("a", "v1", "many");
        const digest = digestOf(bytes, algorithm);
        const answer = await client.putManifest("a", `${digest}?tag=one&tag=Two&tag=one`, bytes);
        expect([answer.status, answer.headers["oci-tag"]]).toEqual([201, "one, Two"]);
        expect(answer.headers["docker-content-digest"]).toBe(digest);
        expect((await registry.send("GET", "/v2/a/tags/list")).json().tags).toEqual(["Two", "one", "v1"]);
        const most = Array.from({ length: 46 }, (_, index) => `t${index}`);
        const all = await client.putManifest("a", `${digest}?tag=${most.join("&tag=")}`, bytes);
        expect([all.status, all.headers["oci-tag"]]).toEqual([201, most.join(", ")]);
        for (const tag of most) {
          const head = await registry.send("HEAD", `/v2/a/manifests/${tag}`);
          expect(head.headers["docker-content-digest"]).toBe(digest);
        }
        const tooMany = await client.putManifest("a", `${digest}?tag=${most.join("&tag=")}&tag=more`, bytes);
        expect(tooMany.status).toBe(414);
        expect((await client.putManifest("a", `${digest}?tag=good&tag=-bad`, bytes)).status).toBe(400);
        expect((await registry.send("GET", "/v2/a/manifests/good")).status).toBe(404);
      },
    );
  }

  point(["http"], "a tag moves only from where the client saw it", async () => {
    const first = await client.pushImage("a", "v1", "first");
    const second = await client.pushImage("a", null, "second");
    const put = async (headers: Record<string, string>) => {
      const all = { "content-type": mediaTypes.ociManifest, ...headers };
      return (await registry.send("PUT", "/v2/a/manifests/v1", second.bytes, all)).status;
    };
    expect(await put({ "if-none-match": "*" })).toBe(412);
    expect(await put({ "if-match": `"${second.digest}"` })).toBe(412);
    expect(await put({ "if-match": `W/"${first.digest}"` })).toBe(412);
    expect((await registry.send("HEAD", "/v2/a/manifests/v1")).headers["docker-content-digest"]).toBe(first.digest);
    expect(await put({ "if-match": `"other", "${first.digest}"` })).toBe(201);
    expect(await put({ "if-none-match": "*" })).toBe(412);
    expect(await put({ "if-match": "*" })).toBe(201);
  });

  point(["http", "push-201"], "many at once don't lose each other, and a tag is made by one of them", async () => {
    const images = await Promise.all(
      Array.from({ length: 24 }, (_, index) => client.pushImage("a", `t${index}`, `${index}`)),
    );
    const { tags } = (await registry.send("GET", "/v2/a/tags/list")).json();
    expect(tags).toEqual(images.map((_, index) => `t${index}`).sort());
    for (const [index, { digest }] of images.entries()) {
      const head = await registry.send("HEAD", `/v2/a/manifests/t${index}`);
      expect(head.headers["docker-content-digest"]).toBe(digest);
    }
    const make = { "content-type": mediaTypes.ociManifest, "if-none-match": "*" };
    const answers = await Promise.all(
      images.map(({ bytes }) => registry.send("PUT", "/v2/a/manifests/once", bytes, make)),
    );
    const made = answers.flatMap(({ status }, index) => (status === 201 ? [images[index]?.digest] : []));
    expect([made.length, new Set(answers.map(({ status }) => status))]).toEqual([1, new Set([201, 412])]);
    const head = await registry.send("HEAD", "/v2/a/manifests/once");
    expect(head.headers["docker-content-digest"]).toBe(made[0]);
  });
};
