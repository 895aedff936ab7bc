import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import { mediaTypes } from "../../../src/oci/media-types.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

/** Manifests and blobs on their way out, whole and in part, and whether they are there. */
export const pulling: Area = ({ registry, client, point }) => {
  for (const [name, content] of [
    ["nothing", ""],
    ["an empty object", "{}"],
    ["some bytes", "some bytes"],
    ["three megabytes and a little", "x".repeat(3 * 1024 * 1024 + 7)],
  ] as const) {
    point(
      [
        "blob-200",
        "blob-digest",
        "blob-digest-true",
        "head-200",
        "head-digest",
        "head-length",
        "Blob get",
        "Blob head",
      ],
      `a blob of ${name} comes back as it went in`,
      async () => {
        const { digest, size } = await client.pushBlob("a/b", content);
        const got = await registry.send("GET", `/v2/a/b/blobs/${digest}`);
        expect([got.status, got.headers["docker-content-digest"]]).toEqual([200, digest]);
        expect(got.body.equals(Buffer.from(content))).toBe(true);
        expect(got.headers["content-type"]).toBe("application/octet-stream");
        expect(got.headers["x-content-type-options"]).toBe("nosniff");
        const head = await registry.send("HEAD", `/v2/a/b/blobs/${digest}`);
        expect([head.status, head.headers["content-length"]]).toEqual([200, String(size)]);
        expect(head.headers["docker-content-digest"]).toBe(digest);
      },
    );
  }

  point(["blob-404", "head-404", "repository-404", "manifest-404", "trap-8"], "what is not there is 404", async () => {
    await client.pushImage("a", "v1", "there");
    for (const repository of ["a", "nowhere"]) {
      for (const reference of ["v2", missing]) {
        const answer = await registry.send("GET", `/v2/${repository}/manifests/${reference}`);
        expect([answer.status, answer.code]).toEqual([404, "MANIFEST_UNKNOWN"]);
        expect((await registry.send("HEAD", `/v2/${repository}/manifests/${reference}`)).status).toBe(404);
      }
      const answer = await registry.send("GET", `/v2/${repository}/blobs/${missing}`);
      expect([answer.status, answer.code]).toEqual([404, "BLOB_UNKNOWN"]);
      expect((await registry.send("HEAD", `/v2/${repository}/blobs/${missing}`)).status).toBe(404);
    }
    for (const path of ["blobs/sha256:baddigeststring", "manifests/sha256:baddigeststring"]) {
      const bad = await registry.send("GET", `/v2/a/${path}`);
      expect([bad.status, bad.code]).toEqual([400, "DIGEST_INVALID"]);
    }
  });

  const content = Buffer.from(Array.from({ length: 2048 }, (_, index) => index % 251));
  for (const [range, status, contentRange] of [
    ["bytes=500-1499", 206, "bytes 500-1499/2048"],
    ["bytes=500-", 206, "bytes 500-2047/2048"],
    ["bytes=-500", 206, "bytes 1548-2047/2048"],
    ["bytes=2000-5000", 206, "bytes 2000-2047/2048"],
    ["bytes=0-0", 206, "bytes 0-0/2048"],
    ["bytes=-9999", 206, "bytes 0-2047/2048"],
    ["bytes=500-0", 416, "bytes */2048"],
    ["bytes=5000-10000", 416, "bytes */2048"],
    ["bytes=2048-", 416, "bytes */2048"],
    ["bytes=-0", 416, "bytes */2048"],
    // RFC 9110 14.2: what is not understood or not wanted is ignored
    ["bytes=0-1,5-6", 200, undefined],
    ["lines=1-2", 200, undefined],
    ["bytes=abc", 200, undefined],
  ] as const) {
    point(["blob-range", "Blob get range", "trap-4"], `the range ${range} is ${status}`, async () => {
      const { digest } = await client.pushBlob("a", content);
      const got = await registry.send("GET", `/v2/a/blobs/${digest}`, null, { range });
      expect([got.status, got.headers["content-range"]]).toEqual([status, contentRange]);
      if (status === 200) expect(got.body.equals(content)).toBe(true);
      const [, start, end] = /bytes ([0-9]+)-([0-9]+)/.exec(contentRange ?? "") ?? [];
      if (status === 206) expect(got.body.equals(content.subarray(Number(start), Number(end) + 1))).toBe(true);
      const head = await registry.send("HEAD", `/v2/a/blobs/${digest}`, null, { range });
      expect([head.status, head.headers["content-length"]]).toEqual([200, "2048"]);
    });
  }

  point(["http", "blob-range"], "conditions of RFC 9110 hold for blobs and manifests", async () => {
    const image = await client.pushImage("a", "v1", "conditions");
    const blob = `/v2/a/blobs/${image.layer.digest}`;
    for (const [url, digest] of [
      [blob, image.layer.digest],
      ["/v2/a/manifests/v1", image.digest],
    ] as const) {
      const etag = (await registry.send("GET", url)).headers.etag ?? "";
      expect(etag).toBe(`"${digest}"`);
      for (const seen of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
        expect([seen, (await registry.send("GET", url, null, { "if-none-match": seen })).status]).toEqual([seen, 304]);
      }
      expect((await registry.send("GET", url, null, { "if-none-match": '"other"' })).status).toBe(200);
    }
    const range = "bytes=0-1";
    const part = async (ifRange: string) =>
      (await registry.send("GET", blob, null, { range, "if-range": ifRange })).status;
    expect(await part('"other"')).toBe(200);
    expect(await part(`W/"${image.layer.digest}"`)).toBe(200);
    expect(await part("Sat, 28 Nov 2026 10:00:00 GMT")).toBe(200);
    expect(await part(`"${image.layer.digest}"`)).toBe(206);
  });

  point(
    [
      ...(["manifest-200", "manifest-digest", "manifest-type-bare", "manifest-type-pushed", "head-length"] as const),
      ...(["Manifest get by tag", "Manifest get by digest", "Manifest head by tag"] as const),
      ...(["Manifest head by digest", "push-bytes", "push-location", "custom-fields", "trap-3"] as const),
    ],
    "a manifest comes back byte for byte, by tag and by digest",
    async () => {
      const odd = { annotations: { ä: "ö" }, "x-custom": { deep: [1, 2.5, null] } };
      const image = await client.pushImage("a/b", "v1", "x", odd);
      for (const reference of ["v1", image.digest]) {
        const got = await registry.send("GET", `/v2/a/b/manifests/${reference}`);
        expect([got.status, got.text, got.headers["content-type"]]).toEqual([200, image.bytes, mediaTypes.ociManifest]);
        expect(got.headers["docker-content-digest"]).toBe(image.digest);
        const head = await registry.send("HEAD", `/v2/a/b/manifests/${reference}`);
        expect([head.status, head.headers["content-length"]]).toEqual([200, String(image.size)]);
        expect(head.headers["docker-content-digest"]).toBe(image.digest);
        expect(head.headers["content-type"]).toBe(mediaTypes.ociManifest);
      }
    },
  );

  point(["manifest-type-pushed"], "Accept is advice: nothing is converted", async () => {
    const image = await client.pushImage("a", "v1", "accept");
    for (const accept of [mediaTypes.dockerManifest, "text/html", "*/*", mediaTypes.ociIndex]) {
      const got = await registry.send("GET", "/v2/a/manifests/v1", null, { accept });
      expect([got.text, got.headers["content-type"]]).toEqual([image.bytes, mediaTypes.ociManifest]);
    }
  });

  point(["blob-404", "trap-7"], "a blob is seen through its repository's own link alone", async () => {
    const { digest } = await client.pushBlob("a", "secret");
    expect((await registry.send("GET", `/v2/b/blobs/${digest}`)).status).toBe(404);
    await client.pushBlob("b", "secret");
    expect((await registry.send("DELETE", `/v2/a/blobs/${digest}`)).status).toBe(202);
    expect((await registry.send("HEAD", `/v2/a/blobs/${digest}`)).status).toBe(404);
    expect((await registry.send("GET", `/v2/b/blobs/${digest}`)).text).toBe("secret");
  });
};
