/**
 * The distribution specification, area by area. One long file, since all of it runs over each storage.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { WireRequest } from "../oci/wire.js";
import { createRegistry, type Registry, type RegistryOptions } from "./registry.js";

const missing = digestOf("nobody has this");

/** What a test looks at: the body read whole. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly json: () => Record<string, unknown>;
  readonly code: () => unknown;
}

class Client {
  readonly #registry: Registry;
  constructor(registry: Registry) {
    this.#registry = registry;
  }

  async send(
    method: string,
    url: string,
    body: Uint8Array | string | null = null,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const bytes = body === null ? null : Buffer.from(body);
    const request: WireRequest = {
      method,
      url,
      headers: { ...(bytes === null ? {} : { "content-length": String(bytes.length) }), ...headers },
      body: bytes,
    };
    const response = await this.#registry.handle(request);
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    const whole = Buffer.concat(chunks);
    if (method !== "HEAD" && response.headers["content-length"] !== undefined) {
      expect(Number(response.headers["content-length"])).toBe(whole.length);
    }
    if (method === "HEAD") expect(whole.length).toBe(0);
    return {
      status: response.status,
      headers: response.headers,
      body: whole,
      json: () => JSON.parse(whole.toString()),
      code: () => JSON.parse(whole.toString()).errors[0].code,
    };
  }

  async pushBlob(repository: string, content: Uint8Array | string) {
    const digest = digestOf(content);
    const answer = await this.send("POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, content);
    expect(answer.status).toBe(201);
    return { digest, size: Buffer.from(content).length };
  }

  async startUpload(repository: string): Promise<string> {
    const answer = await this.send("POST", `/v2/${repository}/blobs/uploads/`, "");
    expect(answer.status).toBe(202);
    return answer.headers.location ?? "";
  }

  /** Pushes an image of one layer; its bytes differ by `salt`. */
  async pushImage(repository: string, reference: string | null, salt: string, more: object = {}) {
    const config = { mediaType: mediaTypes.ociConfig, ...(await this.pushBlob(repository, `{"salt":"${salt}"}`)) };
    const layer = { mediaType: mediaTypes.ociLayerGzip, ...(await this.pushBlob(repository, `layer ${salt}`)) };
    const bytes = JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config,
      layers: [layer],
      ...more,
    });
    const digest = digestOf(bytes);
    const answer = await this.putManifest(repository, reference ?? digest, bytes);
    expect(answer.status).toBe(201);
    return { digest, bytes, layer, config, size: Buffer.byteLength(bytes), answer };
  }

  async putManifest(repository: string, reference: string, bytes: string, mediaType: string = mediaTypes.ociManifest) {
    return await this.send("PUT", `/v2/${repository}/manifests/${reference}`, bytes, { "content-type": mediaType });
  }
}

describe.each(["memory", "filesystem"] as const)("a registry in %s", (kind) => {
  let directory: string;
  let registry: Registry;
  let client: Client;
  let clock: number;
  let failures: unknown[];

  const make = (options: Partial<RegistryOptions> = {}): Registry =>
    createRegistry({
      storage: kind === "memory" ? "memory" : { directory: join(directory, "data") },
      durability: "fast",
      now: () => clock,
      onError: (error) => failures.push(error),
      ...options,
    });
  const remake = async (options: Partial<RegistryOptions>): Promise<void> => {
    await registry.close();
    registry = make(options);
    client = new Client(registry);
  };

  beforeEach(async () => {
    clock = Date.now();
    failures = [];
    directory = await mkdtemp(join(tmpdir(), "lading-registry-"));
    registry = make();
    client = new Client(registry);
  });
  afterEach(async () => {
    await registry.close();
    await rm(directory, { recursive: true, force: true });
    expect(failures).toEqual([]);
  });

  describe("the base", () => {
    it("answers that it is a registry", async () => {
      for (const url of ["/v2/", "/v2", "http://anywhere:1/v2/"])
        expect((await client.send("GET", url)).status).toBe(200);
      expect((await client.send("HEAD", "/v2/")).status).toBe(200);
    });

    it("refuses other methods and unknown endpoints", async () => {
      const wrong = await client.send("DELETE", "/v2/");
      expect([wrong.status, wrong.code(), wrong.headers.allow]).toEqual([405, "UNSUPPORTED", "GET, HEAD"]);
      expect((await client.send("GET", "/v1/")).status).toBe(404);
      expect((await client.send("GET", "/v2/a/nothing")).status).toBe(404);
    });

    it("bounds the length of a URL", async () => {
      expect((await client.send("GET", `/v2/a/tags/list?last=${"x".repeat(9000)}`)).status).toBe(414);
    });

    it("answers under its prefix alone", async () => {
      await remake({ prefix: "/registry" });
      expect((await client.send("GET", "/v2/")).status).toBe(404);
      expect((await client.send("GET", "/registry/v2/")).status).toBe(200);
      const start = await client.send("POST", "/registry/v2/a/blobs/uploads/", "");
      expect(start.headers.location).toMatch(/^\/registry\/v2\/a\/blobs\/uploads\//);
      const put = await client.send("PUT", `${start.headers.location}?digest=${digestOf("x")}`, "x");
      expect((await client.send("GET", put.headers.location ?? "")).body.toString()).toBe("x");
    });

    it("answers 503 once it is closed", async () => {
      await registry.close();
      expect((await client.send("GET", "/v2/")).status).toBe(503);
      failures = [];
    });
  });

  describe("blobs", () => {
    it.each(["", "{}", "some bytes", "x".repeat(3 * 1024 * 1024 + 7)])("come back as they went in", async (content) => {
      const { digest, size } = await client.pushBlob("a/b", content);
      const got = await client.send("GET", `/v2/a/b/blobs/${digest}`);
      expect([got.status, got.headers["docker-content-digest"], got.body.equals(Buffer.from(content))]).toEqual([
        200,
        digest,
        true,
      ]);
      expect(got.headers["content-type"]).toBe("application/octet-stream");
      expect(got.headers["x-content-type-options"]).toBe("nosniff");
      const head = await client.send("HEAD", `/v2/a/b/blobs/${digest}`);
      expect([head.status, head.headers["content-length"]]).toEqual([200, String(size)]);
    });

    it("are not there, or not named right", async () => {
      const answer = await client.send("GET", `/v2/a/blobs/${missing}`);
      expect([answer.status, answer.code()]).toEqual([404, "BLOB_UNKNOWN"]);
      const bad = await client.send("GET", "/v2/a/blobs/sha256:baddigeststring");
      expect([bad.status, bad.code()]).toEqual([400, "DIGEST_INVALID"]);
    });

    it("are seen through the repository's own link alone", async () => {
      const { digest } = await client.pushBlob("a", "secret");
      expect((await client.send("GET", `/v2/b/blobs/${digest}`)).status).toBe(404);
      await client.pushBlob("b", "secret");
      expect((await client.send("DELETE", `/v2/a/blobs/${digest}`)).status).toBe(202);
      expect((await client.send("HEAD", `/v2/a/blobs/${digest}`)).status).toBe(404);
      expect((await client.send("DELETE", `/v2/a/blobs/${digest}`)).status).toBe(404);
      expect((await client.send("GET", `/v2/b/blobs/${digest}`)).body.toString()).toBe("secret");
    });

    it.each([
      ["bytes=500-1499", 206, "bytes 500-1499/2048"],
      ["bytes=500-", 206, "bytes 500-2047/2048"],
      ["bytes=-500", 206, "bytes 1548-2047/2048"],
      ["bytes=2000-5000", 206, "bytes 2000-2047/2048"],
      ["bytes=-9999", 206, "bytes 0-2047/2048"],
      ["bytes=500-0", 416, "bytes */2048"],
      ["bytes=5000-10000", 416, "bytes */2048"],
      ["bytes=2048-", 416, "bytes */2048"],
      ["bytes=-0", 416, "bytes */2048"],
      ["bytes=0-1,5-6", 200, undefined],
      ["lines=1-2", 200, undefined],
      ["bytes=abc", 200, undefined],
    ])("give the range %s", async (range, status, contentRange) => {
      const content = Buffer.from(Array.from({ length: 2048 }, (_, index) => index % 251));
      const { digest } = await client.pushBlob("a", content);
      const got = await client.send("GET", `/v2/a/blobs/${digest}`, null, { range });
      expect([got.status, got.headers["content-range"]]).toEqual([status, contentRange]);
      if (status === 200) expect(got.body.equals(content)).toBe(true);
      const [, start, end] = /bytes ([0-9]+)-([0-9]+)/.exec(contentRange ?? "") ?? [];
      if (status === 206) expect(got.body.equals(content.subarray(Number(start), Number(end) + 1))).toBe(true);
    });

    it("are not sent again to who has them, nor in part where another is meant", async () => {
      const { digest } = await client.pushBlob("a", "content");
      const url = `/v2/a/blobs/${digest}`;
      expect((await client.send("GET", url, null, { "if-none-match": `"${digest}"` })).status).toBe(304);
      expect((await client.send("GET", url, null, { range: "bytes=0-1", "if-range": '"other"' })).status).toBe(200);
      expect((await client.send("GET", url, null, { range: "bytes=0-1", "if-range": `"${digest}"` })).status).toBe(206);
    });
  });

  describe("uploads", () => {
    it("by POST and PUT", async () => {
      const location = await client.startUpload("a");
      const put = await client.send("PUT", `${location}?digest=${digestOf("content")}`, "content");
      expect([put.status, put.headers["docker-content-digest"]]).toEqual([201, digestOf("content")]);
      expect((await client.send("GET", put.headers.location ?? "")).body.toString()).toBe("content");
      expect((await client.send("GET", location)).status).toBe(404);
    });

    it.each(["sha256", "sha512"] as const)("in chunks, with %s", async (algorithm) => {
      const location = await client.startUpload("a");
      const first = await client.send("PATCH", location, "first ", { "content-range": "0-5" });
      expect([first.status, first.headers.range]).toEqual([202, "0-5"]);
      const second = await client.send("PATCH", first.headers.location ?? "", "second ", { "content-range": "6-12" });
      expect([second.status, second.headers.range]).toEqual([202, "0-12"]);
      const digest = digestOf("first second third", algorithm);
      const put = await client.send("PUT", `${location}?digest=${digest}`, "third", { "content-range": "13-17" });
      expect([put.status, put.headers.location]).toEqual([201, `/v2/a/blobs/${digest}`]);
      expect((await client.send("GET", put.headers.location ?? "")).body.toString()).toBe("first second third");
    });

    it("as a stream, in pieces of any size", async () => {
      const location = await client.startUpload("a");
      const pieces = [1, 70_000, 300_000, 5, 1_500_000, 64].map((size, index) => Buffer.alloc(size, index + 1));
      const whole = Buffer.concat(pieces);
      const answer = await registry.handle({
        method: "PATCH",
        url: location,
        headers: {},
        body: (async function* () {
          yield* pieces;
        })(),
      });
      expect([answer.status, answer.headers.range]).toEqual([202, `0-${whole.length - 1}`]);
      expect((await client.send("PUT", `${location}?digest=${digestOf(whole)}`, "")).status).toBe(201);
      expect((await client.send("GET", `/v2/a/blobs/${digestOf(whole)}`)).body.equals(whole)).toBe(true);
    });

    it("do not pile up in memory", async () => {
      if (kind === "filesystem") {
        const location = await client.startUpload("a");
        let most = 0;
        const answer = await registry.handle({
          method: "PATCH",
          url: location,
          headers: {},
          body: (async function* () {
            for (let sent = 0; sent < 4000; sent++) {
              // as a socket gives them
              yield Buffer.alloc(64 * 1024, sent);
              most = Math.max(most, process.memoryUsage().arrayBuffers);
            }
          })(),
        });
        expect(answer.headers.range).toBe(`0-${4000 * 64 * 1024 - 1}`);
        expect(most).toBeLessThan(128 * 1024 * 1024);
        await client.send("DELETE", location);
      }
    });

    it("out of order are refused, and the session lives on", async () => {
      const location = await client.startUpload("a");
      await client.send("PATCH", location, "01234", { "content-range": "0-4" });
      for (const [method, url] of [
        ["PATCH", location],
        ["PUT", `${location}?digest=${digestOf("x")}`],
      ] as const) {
        const wrong = await client.send(method, url, "89", { "content-range": "8-9" });
        expect([wrong.status, wrong.code(), wrong.headers.range]).toEqual([416, "BLOB_UPLOAD_INVALID", "0-4"]);
        const status = await client.send("GET", url);
        expect([status.status, status.headers.range, status.headers.location]).toEqual([204, "0-4", location]);
      }
      const put = await client.send("PUT", `${location}?digest=${digestOf("0123456")}`, "56", {
        "content-range": "5-6",
      });
      expect(put.status).toBe(201);
    });

    it("with a chunk of another length than it says keep what was there", async () => {
      const location = await client.startUpload("a");
      const lie = { "content-range": "0-9" };
      expect((await client.send("PATCH", location, "12345", lie)).status).toBe(400);
      const stream = await registry.handle({
        method: "PATCH",
        url: location,
        headers: lie,
        body: (async function* () {
          yield Buffer.from("12345");
        })(),
      });
      expect(stream.status).toBe(400);
      expect((await client.send("PATCH", location, "x", { "content-range": "what" })).status).toBe(400);
      expect((await client.send("PUT", `${location}?digest=${digestOf("right")}`, "right")).status).toBe(201);
    });

    it("that break off go on from where they are, or from where the client was told", async () => {
      const location = await client.startUpload("a");
      await client.send("PATCH", location, "0123", { "content-range": "0-3" });
      const broken = (): Promise<unknown> =>
        registry.handle({
          method: "PATCH",
          url: location,
          headers: {},
          body: (async function* () {
            yield Buffer.from("45");
            throw new Error("cut");
          })(),
        });
      await broken();
      failures = [];
      const again = await client.send("PATCH", location, "4567", { "content-range": "4-7" });
      expect([again.status, again.headers.range]).toEqual([202, "0-7"]);
      await broken();
      failures = [];
      const status = await client.send("GET", location);
      expect(status.headers.range).toBe("0-9");
      const digest = digestOf("012345674589");
      const put = await client.send("PUT", `${location}?digest=${digest}`, "89", { "content-range": "10-11" });
      expect(put.status).toBe(201);
      expect((await client.send("GET", `/v2/a/blobs/${digest}`)).body.toString()).toBe("012345674589");
    });

    it("taken over by a second request end the first one with 416", async () => {
      const location = await client.startUpload("a");
      let began = (): void => {};
      const running = new Promise<void>((resolve) => {
        began = resolve;
      });
      const first = registry.handle({
        method: "PATCH",
        url: location,
        headers: { "content-range": "0-9" },
        body: (async function* () {
          yield Buffer.from("012");
          began();
          await new Promise(() => {});
        })(),
      });
      await running;
      const second = await client.send("PATCH", location, "0123456789", { "content-range": "0-9" });
      expect([second.status, (await first).status]).toEqual([202, 416]);
      expect((await client.send("PUT", `${location}?digest=${digestOf("0123456789")}`, "")).status).toBe(201);
    });

    it("with the wrong digest leave nothing", async () => {
      for (const digest of [missing, digestOf("other", "sha512")]) {
        const location = await client.startUpload("a");
        const put = await client.send("PUT", `${location}?digest=${digest}`, "content");
        expect([put.status, put.code()]).toEqual([400, "DIGEST_INVALID"]);
        expect((await client.send("HEAD", `/v2/a/blobs/${digest}`)).status).toBe(404);
      }
      const location = await client.startUpload("a");
      for (const text of ["sha256:baddigeststring", "md5:d41d8cd98f00b204e9800998ecf8427e", ""]) {
        expect((await client.send("PUT", `${location}?digest=${text}`, "content")).status).toBe(400);
        expect((await client.send("POST", `/v2/a/blobs/uploads/?digest=${text}`, "content")).status).toBe(400);
      }
      expect((await client.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", "")).status).toBe(400);
      expect((await client.send("POST", `/v2/a/blobs/uploads/?digest=${missing}`, "content")).status).toBe(400);
    });

    it("know the algorithm beforehand", async () => {
      const start = await client.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", "");
      const location = start.headers.location ?? "";
      await client.send("PATCH", location, "content");
      expect((await client.send("PUT", `${location}?digest=${digestOf("content", "sha512")}`, "")).status).toBe(201);
    });

    it("announced with a digest and empty go on with PUT", async () => {
      const digest = digestOf("content");
      const start = await client.send("POST", `/v2/a/blobs/uploads/?digest=${digest}`, "");
      expect(start.status).toBe(202);
      expect((await client.send("PUT", `${start.headers.location}?digest=${digest}`, "content")).status).toBe(201);
    });

    it("can be cancelled", async () => {
      const location = await client.startUpload("a");
      expect((await client.send("DELETE", location)).status).toBe(204);
      for (const method of ["GET", "PATCH", "DELETE"]) {
        const gone = await client.send(method, location, method === "PATCH" ? "x" : null);
        expect([method, gone.status, gone.code()]).toEqual([method, 404, "BLOB_UPLOAD_UNKNOWN"]);
      }
    });

    it("belong to their repository", async () => {
      const location = await client.startUpload("a");
      expect((await client.send("GET", location.replace("/a/", "/b/"))).status).toBe(404);
    });

    it("belong to who began them", async () => {
      await remake({
        authorize: async ({ headers }) => ({ allowed: true, principal: { subject: headers["x-user"] ?? null } }),
      });
      const start = await client.send("POST", "/v2/a/blobs/uploads/", "", { "x-user": "alice" });
      const location = start.headers.location ?? "";
      for (const method of ["GET", "PATCH", "DELETE"]) {
        expect((await client.send(method, location, null, { "x-user": "bob" })).status).toBe(404);
      }
      expect((await client.send("GET", location, null, { "x-user": "alice" })).status).toBe(204);
    });

    it("are limited in number, and end when they lie idle", async () => {
      await remake({ limits: { uploads: 2, uploadIdle: 1000 } });
      const location = await client.startUpload("a");
      await client.startUpload("a");
      const third = await client.send("POST", "/v2/a/blobs/uploads/", "");
      expect([third.status, third.code(), third.headers["retry-after"]]).toEqual([429, "TOOMANYREQUESTS", "60"]);
      clock += 2 * 60 * 60 * 1000;
      expect((await client.send("GET", location)).status).toBe(404);
      await expect.poll(async () => (await client.send("POST", "/v2/a/blobs/uploads/", "")).status).toBe(202);
    });
  });

  describe("mounts", () => {
    it("take a blob from another repository", async () => {
      const { digest } = await client.pushBlob("a", "content");
      const answer = await client.send("POST", `/v2/b/c/blobs/uploads/?mount=${digest}&from=a`, "");
      expect([answer.status, answer.headers.location]).toEqual([201, `/v2/b/c/blobs/${digest}`]);
      expect((await client.send("GET", `/v2/b/c/blobs/${digest}`)).body.toString()).toBe("content");
    });

    it("become an upload where the source has it not", async () => {
      const { digest } = await client.pushBlob("a", "content");
      for (const query of [
        `mount=${missing}&from=a`,
        `mount=${digest}&from=z`,
        `mount=${digest}&from=..%2Fa`,
        "mount=x&from=a",
      ]) {
        const answer = await client.send("POST", `/v2/b/blobs/uploads/?${query}`, "");
        expect([query, answer.status]).toEqual([query, 202]);
        expect((await client.send("DELETE", answer.headers.location ?? "")).status).toBe(204);
      }
    });

    it("find the source themselves, where that is allowed", async () => {
      const image = await client.pushImage("a", "v1", "mount");
      const url = `/v2/b/blobs/uploads/?mount=${image.layer.digest}`;
      if (kind === "filesystem") {
        await remake({ automaticMount: false });
        expect((await client.send("POST", url, "")).status).toBe(202);
        await remake({});
      }
      expect((await client.send("POST", url, "")).status).toBe(201);
    });

    it("need the right to read the source", async () => {
      if (kind === "filesystem") {
        const { digest } = await client.pushBlob("private", "content");
        await remake({
          authorize: async ({ repository }) =>
            repository === "private"
              ? { allowed: false, status: 404, message: "there is no such repository" }
              : { allowed: true, principal: { subject: "bob" } },
        });
        for (const from of ["&from=private", ""]) {
          expect((await client.send("POST", `/v2/b/blobs/uploads/?mount=${digest}${from}`, "")).status).toBe(202);
        }
        expect((await client.send("HEAD", `/v2/private/blobs/${digest}`)).status).toBe(404);
      }
    });
  });

  describe("manifests", () => {
    it("come back byte for byte, by tag and by digest", async () => {
      const image = await client.pushImage("a/b", "v1", "x", { annotations: { ä: "ö" }, "x-custom": { deep: [1, 2] } });
      expect(image.answer.headers.location).toBe(`/v2/a/b/manifests/${image.digest}`);
      expect(image.answer.headers["docker-content-digest"]).toBe(image.digest);
      for (const reference of ["v1", image.digest]) {
        const got = await client.send("GET", `/v2/a/b/manifests/${reference}`);
        expect([got.status, got.body.toString(), got.headers["content-type"]]).toEqual([
          200,
          image.bytes,
          mediaTypes.ociManifest,
        ]);
        expect(got.headers["docker-content-digest"]).toBe(image.digest);
        const head = await client.send("HEAD", `/v2/a/b/manifests/${reference}`);
        expect([head.status, head.headers["content-length"]]).toEqual([200, String(image.size)]);
        const etag = got.headers.etag ?? "";
        expect(
          (await client.send("GET", `/v2/a/b/manifests/${reference}`, null, { "if-none-match": etag })).status,
        ).toBe(304);
      }
    });

    it("are unknown", async () => {
      for (const reference of ["v1", missing, ".INVALID_MANIFEST_NAME"]) {
        const got = await client.send("GET", `/v2/a/manifests/${reference}`);
        expect([got.status, got.code()]).toEqual([404, "MANIFEST_UNKNOWN"]);
      }
      expect((await client.send("GET", "/v2/a/manifests/sha256:bad")).status).toBe(400);
    });

    it("can have a sha512 digest, and Docker's types", async () => {
      const image = await client.pushImage("a", null, "types");
      const wide = digestOf(image.bytes, "sha512");
      expect((await client.putManifest("a", wide, image.bytes)).headers["docker-content-digest"]).toBe(wide);
      expect((await client.send("GET", `/v2/a/manifests/${wide}`)).body.toString()).toBe(image.bytes);
      const docker = JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.dockerManifest,
        config: image.config,
        layers: [],
      });
      expect(
        (await client.putManifest("a", "docker", docker, `${mediaTypes.dockerManifest}; charset=utf-8`)).status,
      ).toBe(201);
      expect((await client.send("GET", "/v2/a/manifests/docker")).headers["content-type"]).toBe(
        mediaTypes.dockerManifest,
      );
      const entry = { mediaType: mediaTypes.dockerManifest, digest: digestOf(docker), size: docker.length };
      const list = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.dockerList, manifests: [entry] });
      expect((await client.putManifest("a", "list", list, mediaTypes.dockerList)).status).toBe(201);
    });

    it("must say the truth", async () => {
      const image = await client.pushImage("a", "v1", "truth");
      const other = await client.putManifest("a", missing, image.bytes);
      expect([other.status, other.code()]).toEqual([400, "DIGEST_INVALID"]);
      for (const [bytes, type] of [
        ["no json", mediaTypes.ociManifest],
        ["{}", mediaTypes.ociManifest],
        [image.bytes, mediaTypes.ociIndex],
        [image.bytes, "text/html"],
        [`{"schemaVersion":2,"manifests":[],"x":${"[".repeat(40)}${"]".repeat(40)}}`, mediaTypes.ociIndex],
      ] as const) {
        const answer = await client.putManifest("a", "bad", bytes, type);
        expect([answer.status, answer.code()]).toEqual([400, "MANIFEST_INVALID"]);
      }
      expect((await client.putManifest("a", ".bad", image.bytes)).status).toBe(400);
      expect((await client.send("GET", "/v2/a/manifests/bad")).status).toBe(404);
    });

    it("may be 4 MiB large and no larger", async () => {
      const { config, layer } = await client.pushImage("a", "v1", "large");
      const sized = (size: number): string => {
        const make = (pad: string) =>
          JSON.stringify({ schemaVersion: 2, config, layers: [layer], annotations: { pad } });
        return make("x".repeat(size - make("").length));
      };
      expect((await client.putManifest("a", "large", sized(4 * 1024 * 1024))).status).toBe(201);
      const tooLarge = await client.putManifest("a", "larger", sized(4 * 1024 * 1024 + 1));
      expect([tooLarge.status, tooLarge.code()]).toEqual([413, "SIZE_INVALID"]);
      const endless = await registry.handle({
        method: "PUT",
        url: "/v2/a/manifests/endless",
        headers: { "content-type": mediaTypes.ociManifest },
        body: (async function* () {
          while (true) yield Buffer.alloc(1024 * 1024, " ");
        })(),
      });
      expect(endless.status).toBe(413);
    });

    it("name only what the repository has", async () => {
      const image = await client.pushImage("a", "v1", "refs");
      const elsewhere = await client.putManifest("b", "v1", image.bytes);
      expect([elsewhere.status, elsewhere.code()]).toEqual([400, "MANIFEST_BLOB_UNKNOWN"]);
      expect((await client.send("GET", "/v2/b/manifests/v1")).status).toBe(404);
      const child = { mediaType: mediaTypes.ociManifest, digest: missing, size: 3 };
      const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [child] });
      expect((await client.putManifest("a", "sparse", index, mediaTypes.ociIndex)).status).toBe(400);
      await remake({ sparse: true });
      expect((await client.putManifest("a", "sparse", index, mediaTypes.ociIndex)).status).toBe(201);
    });

    it("may name foreign layers, nothing, and what comes inline", async () => {
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
      const unnamed = await client.send("PUT", "/v2/a/manifests/v4", empty);
      expect(unnamed.status).toBe(201);
    });

    it("get several tags at once", async () => {
      const { bytes, digest } = await client.pushImage("a", "v1", "many");
      const answer = await client.putManifest("a", `${digest}?tag=one&tag=Two&tag=one`, bytes);
      expect([answer.status, answer.headers["oci-tag"]]).toEqual([201, "one, Two"]);
      expect((await client.send("GET", "/v2/a/tags/list")).json().tags).toEqual(["Two", "one", "v1"]);
      expect((await client.putManifest("a", `${digest}?tag=-bad`, bytes)).status).toBe(400);
      const many = Array.from({ length: 47 }, (_, index) => `tag=t${index}`).join("&");
      expect((await client.putManifest("a", `${digest}?${many}`, bytes)).status).toBe(414);
    });

    it("move a tag only from where it is expected", async () => {
      const first = await client.pushImage("a", "v1", "first");
      const second = await client.pushImage("a", null, "second");
      const put = async (headers: Record<string, string>) =>
        (
          await client.send("PUT", "/v2/a/manifests/v1", second.bytes, {
            "content-type": mediaTypes.ociManifest,
            ...headers,
          })
        ).status;
      expect(await put({ "if-none-match": "*" })).toBe(412);
      expect(await put({ "if-match": `"${second.digest}"` })).toBe(412);
      expect(await put({ "if-match": `"${first.digest}"` })).toBe(201);
      expect(await put({ "if-none-match": "*" })).toBe(412);
    });

    it("are deleted with all their tags, a tag alone", async () => {
      const { digest } = await client.pushImage("a", "v1", "delete");
      const kept = await client.pushImage("a", "kept", "kept");
      for (const tag of ["v2", "v3"]) await client.pushImage("a", tag, "delete");
      expect((await client.send("DELETE", "/v2/a/manifests/v3")).status).toBe(202);
      expect((await client.send("DELETE", "/v2/a/manifests/v3")).status).toBe(404);
      expect((await client.send("GET", `/v2/a/manifests/${digest}`)).status).toBe(200);
      expect((await client.send("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(202);
      expect((await client.send("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(404);
      for (const reference of ["v1", "v2", digest]) {
        expect((await client.send("GET", `/v2/a/manifests/${reference}`)).status).toBe(404);
      }
      expect((await client.send("GET", "/v2/a/tags/list")).json()).toEqual({ name: "a", tags: ["kept"] });
      await client.send("DELETE", `/v2/a/manifests/${kept.digest}`);
      expect((await client.send("GET", "/v2/a/tags/list")).json()).toEqual({ name: "a", tags: [] });
      expect((await client.send("GET", "/v2/_catalog")).json()).toEqual({ repositories: [] });
    });
  });

  describe("lists", () => {
    /** Follows `Link` to the end. */
    const pages = async (url: string): Promise<Record<string, unknown>[]> => {
      const found: Record<string, unknown>[] = [];
      for (let next: string | undefined = url; next !== undefined; ) {
        const answer: Answer = await client.send("GET", next);
        expect(answer.status).toBe(200);
        found.push(answer.json());
        next = /^<(.*)>; rel="next"$/.exec(answer.headers.link ?? "")?.[1];
      }
      return found;
    };

    it("of tags are in byte order, whatever their case, and paged", async () => {
      const tags = ["v10", "V1", "v1", "latest", "_x", "1.0", "a-B", "A-b", "z".repeat(128), "Z".repeat(128)];
      for (const tag of tags) await client.pushImage("a", tag, tag);
      const sorted = [...tags].sort();
      expect((await client.send("GET", "/v2/a/tags/list")).json()).toEqual({ name: "a", tags: sorted });
      for (const n of [1, 3, 10, 11]) {
        const listed = await pages(`/v2/a/tags/list?n=${n}`);
        expect(listed.flatMap((page) => page.tags)).toEqual(sorted);
        expect(listed.length).toBe(Math.ceil(tags.length / n));
      }
      // a position, whether such a tag is there or not
      expect((await client.send("GET", "/v2/a/tags/list?last=v0")).json().tags).toEqual(["v1", "v10", "z".repeat(128)]);
      const none = await client.send("GET", "/v2/a/tags/list?n=0");
      expect([none.json().tags, none.headers.link]).toEqual([[], undefined]);
    });

    it("take no n that is none, and a huge one as the most", async () => {
      await client.pushImage("a", "v1", "n");
      for (const n of ["-1", "x", "1.5", "1e3", ""]) {
        expect([n, (await client.send("GET", `/v2/a/tags/list?n=${n}`)).status]).toEqual([n, 400]);
      }
      expect((await client.send("GET", "/v2/a/tags/list?n=9223372036854775808")).json().tags).toEqual(["v1"]);
      expect((await client.send("GET", "/v2/z/tags/list")).code()).toBe("NAME_UNKNOWN");
    });

    it("of repositories are in byte order and paged", async () => {
      const names = ["b", "a", "a/b", "a-b", "a.b", "a0", "a__b", "a/b/c"];
      for (const name of names) await client.pushImage(name, "v1", "catalog");
      const sorted = [...names].sort();
      for (const n of [1, 3, 8, 100]) {
        expect((await pages(`/v2/_catalog?n=${n}`)).flatMap((page) => page.repositories)).toEqual(sorted);
      }
      expect((await client.send("GET", "/v2/_catalog?n=0")).json()).toEqual({ repositories: [] });
    });

    it("of repositories show what the caller may read", async () => {
      if (kind === "filesystem") {
        for (const name of ["a", "b", "c", "d"]) await client.pushImage(name, "v1", name);
        await remake({
          authorize: async ({ repository }) =>
            repository === "b" || repository === "c"
              ? { allowed: false, status: 404, message: "there is no such repository" }
              : { allowed: true, principal: { subject: null } },
        });
        expect((await pages("/v2/_catalog?n=1")).map((page) => page.repositories)).toEqual([["a"], ["d"]]);
      }
    });
  });

  describe("referrers", () => {
    const list = async (digest: string, query = "") => await client.send("GET", `/v2/a/referrers/${digest}${query}`);

    it("of nothing are an empty index", async () => {
      const answer = await list(missing);
      expect([answer.status, answer.headers["content-type"], answer.json()]).toEqual([
        200,
        mediaTypes.ociIndex,
        { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] },
      ]);
      expect((await list("sha256:bad")).status).toBe(400);
    });

    it("are listed, filtered and paged, until they are deleted", async () => {
      const subject = await client.pushImage("a", "v1", "subject");
      const refer = { mediaType: mediaTypes.ociManifest, digest: subject.digest, size: subject.size };
      const signature = await client.pushImage("a", null, "signature", {
        subject: refer,
        artifactType: "application/example.signature",
        annotations: { key: "value" },
      });
      expect(signature.answer.headers["oci-subject"]).toBe(subject.digest);
      const plain = await client.pushImage("a", null, "plain", { subject: refer });
      const indexBytes = JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [],
        subject: refer,
      });
      await client.putManifest("a", digestOf(indexBytes), indexBytes, mediaTypes.ociIndex);
      const expected = [
        {
          mediaType: mediaTypes.ociManifest,
          digest: signature.digest,
          size: signature.size,
          artifactType: "application/example.signature",
          annotations: { key: "value" },
        },
        {
          mediaType: mediaTypes.ociManifest,
          digest: plain.digest,
          size: plain.size,
          artifactType: mediaTypes.ociConfig,
        },
        { mediaType: mediaTypes.ociIndex, digest: digestOf(indexBytes), size: indexBytes.length },
      ].sort((a, b) => (a.digest < b.digest ? -1 : 1));
      expect((await list(subject.digest)).json().manifests).toEqual(expected);
      const filtered = await list(subject.digest, "?artifactType=application/example.signature");
      expect(filtered.headers["oci-filters-applied"]).toBe("artifactType");
      expect(filtered.json().manifests).toEqual(expected.filter((entry) => entry.digest === signature.digest));
      const first = await list(subject.digest, "?n=2");
      const next = /^<(.*)>; rel="next"$/.exec(first.headers.link ?? "")?.[1] ?? "";
      const second = await client.send("GET", next);
      expect([...(first.json().manifests as []), ...(second.json().manifests as [])]).toEqual(expected);
      expect(second.headers.link).toBeUndefined();
      await client.send("DELETE", `/v2/a/manifests/${signature.digest}`);
      expect((await list(subject.digest, "?artifactType=application/example.signature")).json().manifests).toEqual([]);
    });

    it("may come before their subject, and fill pages by bytes", async () => {
      await remake({ limits: { referrersPage: 400 } });
      const refer = { mediaType: mediaTypes.ociManifest, digest: missing, size: 1 };
      const digests: string[] = [];
      for (const salt of ["1", "2", "3"]) {
        digests.push(
          (await client.pushImage("a", null, salt, { subject: refer, annotations: { pad: "x".repeat(150) } })).digest,
        );
      }
      const first = await list(missing);
      expect((first.json().manifests as []).length).toBe(1);
      expect(first.headers.link).toMatch(/rel="next"/);
      expect(digests.length).toBe(3);
    });
  });

  describe("who may", () => {
    it("is asked before everything", async () => {
      const asked: string[] = [];
      await remake({
        authorize: async ({ action, repository }) => {
          asked.push(`${action} ${repository}`);
          return {
            allowed: false,
            status: 401,
            challenge: 'Bearer realm="https://example.org/token"',
            message: "who are you?",
          };
        },
      });
      for (const [method, path] of [
        ["GET", "/v2/"],
        ["GET", "/v2/_catalog"],
        ["GET", "/v2/a/tags/list"],
        ["GET", `/v2/a/referrers/${missing}`],
        ["HEAD", `/v2/a/blobs/${missing}`],
        ["DELETE", `/v2/a/blobs/${missing}`],
        ["PUT", "/v2/a/manifests/v1"],
        ["DELETE", "/v2/a/manifests/v1"],
        ["POST", "/v2/a/blobs/uploads/"],
        ["PATCH", "/v2/a/blobs/uploads/00000000-0000-0000-0000-000000000000"],
      ] as const) {
        const answer = await client.send(method, path);
        expect([answer.status, answer.headers["www-authenticate"]]).toEqual([
          401,
          'Bearer realm="https://example.org/token"',
        ]);
      }
      expect(asked).toEqual([
        "ping null",
        "catalog null",
        "pull a",
        "pull a",
        "pull a",
        "delete a",
        "push a",
        "delete a",
        "push a",
        "push a",
      ]);
    });
  });
});
