import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

async function* pieces(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

/** Blobs on their way in: by one POST, by POST and PUT, as a stream, in chunks; and how an upload ends otherwise. */
export const uploads: Area = ({ registry, client, point }) => {
  for (const [name, content] of [
    ["nothing", ""],
    ["an empty object", "{}"],
    ["a megabyte and a little", "y".repeat(1024 * 1024 + 5)],
  ] as const) {
    for (const algorithm of ["sha256", "sha512"] as const) {
      const digest = digestOf(content, algorithm);
      const arrived = async (location: string) => {
        expect(location).toBe(`/v2/a/blobs/${digest}`);
        const got = await registry.send("GET", location);
        expect([got.status, got.body.equals(Buffer.from(content))]).toEqual([200, true]);
        expect(got.headers["docker-content-digest"]).toBe(digest);
      };
      const what = `${name}, by ${algorithm}`;

      point(["post-201", "post-location", "Blob post only", "trap-3", "trap-13"], `one POST of ${what}`, async () => {
        const post = await registry.send("POST", `/v2/a/blobs/uploads/?digest=${digest}`, content);
        // of nothing, a client may as well mean to go on with PUT
        expect([post.status, post.headers["docker-content-digest"]]).toEqual([201, digest]);
        await arrived(post.location);
      });

      point(
        [
          "session-202",
          "session-location",
          "session-uuid",
          "put-201",
          "put-location",
          "Blob post put",
          "trap-2",
          "trap-13",
        ],
        `POST and PUT of ${what}`,
        async () => {
          const post = await registry.send("POST", "/v2/a/blobs/uploads/", "");
          expect(post.status).toBe(202);
          expect(post.location).toMatch(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/);
          const put = await registry.send("PUT", `${post.location}?digest=${digest}`, content);
          expect([put.status, put.headers["docker-content-digest"]]).toEqual([201, digest]);
          await arrived(put.location);
          expect((await registry.send("GET", post.location)).status).toBe(404);
        },
      );

      point(["Blob streaming", "Blob push", "trap-2", "trap-13"], `a stream of ${what}`, async () => {
        const location = await client.startUpload("a");
        const parts = [1, 70_000, 300_000, 5, 64].map((_size, index) =>
          Buffer.from(content).subarray(index, index + 1),
        );
        const rest = Buffer.from(content).subarray(5);
        const patch = await registry.send("PATCH", location, pieces(...parts, rest));
        expect([patch.status, patch.headers.range]).toEqual([202, `0-${Math.max(0, content.length - 1)}`]);
        const put = await registry.send("PUT", `${patch.location}?digest=${digest}`, "");
        expect(put.status).toBe(201);
        await arrived(put.location);
      });

      point(
        ["chunked-empty-post", "close-put", "close-digest", "close-201", "close-location", "Blob chunked", "trap-13"],
        `one chunk of ${what}`,
        async () => {
          const location = await client.startUpload("a");
          const range = { "content-range": content === "" ? "0-0" : `0-${content.length - 1}` };
          const patch = await registry.send("PATCH", location, content, range);
          expect(patch.status).toBe(202);
          const put = await registry.send("PUT", `${patch.location}?digest=${digest}`, "");
          expect(put.status).toBe(201);
          await arrived(put.location);
        },
      );
    }
  }

  for (const algorithm of ["sha256", "sha512"] as const) {
    point(
      [
        "chunk-inclusive",
        "chunk-first",
        "chunk-form",
        "chunk-202",
        "chunk-headers",
        "chunk-order",
        "close-201",
        "Blob chunked",
      ],
      `several chunks, the last one with PUT, by ${algorithm}`,
      async () => {
        const location = await client.startUpload("a");
        const first = await registry.send("PATCH", location, "first ", { "content-range": "0-5" });
        expect([first.status, first.headers.range]).toEqual([202, "0-5"]);
        const second = await registry.send("PATCH", first.location, "second ", { "content-range": "6-12" });
        expect([second.status, second.headers.range]).toEqual([202, "0-12"]);
        const digest = digestOf("first second third", algorithm);
        const last = { "content-range": "13-17" };
        const put = await registry.send("PUT", `${second.location}?digest=${digest}`, "third", last);
        expect([put.status, put.location]).toEqual([201, `/v2/a/blobs/${digest}`]);
        expect((await registry.send("GET", put.location)).text).toBe("first second third");
      },
    );
  }

  point(["chunk-minimum"], "there is no smallest chunk, and none is announced", async () => {
    const post = await registry.send("POST", "/v2/a/blobs/uploads/", "");
    expect(post.headers["oci-chunk-min-length"]).toBeUndefined();
    for (const [index, byte] of [..."abc"].entries()) {
      const range = { "content-range": `${index}-${index}` };
      expect((await registry.send("PATCH", post.location, byte, range)).status).toBe(202);
    }
    expect((await registry.send("PUT", `${post.location}?digest=${digestOf("abc")}`, "")).status).toBe(201);
  });

  point(["chunked-algorithm"], "the algorithm can be said beforehand, and another one come", async () => {
    for (const [announced, algorithm] of [
      ["sha512", "sha512"],
      ["sha512", "sha256"],
      ["sha256", "sha512"],
    ] as const) {
      const start = await registry.send("POST", `/v2/a/blobs/uploads/?digest-algorithm=${announced}`, "");
      expect(start.status).toBe(202);
      await registry.send("PATCH", start.location, "content");
      const put = await registry.send("PUT", `${start.location}?digest=${digestOf("content", algorithm)}`, "");
      expect([put.status, put.headers["docker-content-digest"]]).toEqual([201, digestOf("content", algorithm)]);
    }
  });

  point(
    ["chunk-416", "chunk-order", "close-416", "status-204", "status-headers", "trap-1"],
    "a chunk out of place is 416, and the session lives on",
    async () => {
      const location = await client.startUpload("a");
      const before = await registry.send("PATCH", location, "89", { "content-range": "8-9" });
      expect(before.status).toBe(416);
      const empty = await registry.send("GET", location);
      expect([empty.status, empty.headers.range, empty.location]).toEqual([204, "0-0", location]);
      await registry.send("PATCH", location, "01234", { "content-range": "0-4" });
      for (const [method, url] of [
        ["PATCH", location],
        ["PATCH", `${location}?_state=stale`],
        ["PUT", `${location}?digest=${digestOf("x")}`],
      ] as const) {
        for (const range of ["8-9", "3-4"]) {
          const wrong = await registry.send(method, url, "89", { "content-range": range });
          expect([wrong.status, wrong.code, wrong.headers.range]).toEqual([416, "BLOB_UPLOAD_INVALID", "0-4"]);
          const status = await registry.send("GET", url);
          expect([status.status, status.headers.range, status.location]).toEqual([204, "0-4", location]);
        }
      }
      const last = { "content-range": "5-6" };
      const put = await registry.send("PUT", `${location}?digest=${digestOf("0123456")}`, "56", last);
      expect(put.status).toBe(201);
    },
  );

  point(
    ["length-true", "chunk-form"],
    "a chunk of another length than it says is 400, and what was there stays",
    async () => {
      const location = await client.startUpload("a");
      const lie = { "content-range": "0-9" };
      expect((await registry.send("PATCH", location, "12345", lie)).status).toBe(400);
      const stream = await registry.send("PATCH", location, pieces(Buffer.from("12345")), lie);
      expect(stream.status).toBe(400);
      for (const range of ["what", "5", "-5", "0-4-5", "0x0-0x4", "4-0"]) {
        expect((await registry.send("PATCH", location, "12345", { "content-range": range })).status).toBe(400);
      }
      expect((await registry.send("PUT", `${location}?digest=${digestOf("right")}`, "right")).status).toBe(201);
    },
  );

  point(
    ["digest-invalid", "digest-true", "trap-8", "bad-digest-image"],
    "a digest that is wrong or none is 400, and leaves nothing",
    async () => {
      for (const digest of [missing, digestOf("other", "sha512")]) {
        const location = await client.startUpload("a");
        const put = await registry.send("PUT", `${location}?digest=${digest}`, "content");
        expect([put.status, put.code]).toEqual([400, "DIGEST_INVALID"]);
        const post = await registry.send("POST", `/v2/a/blobs/uploads/?digest=${digest}`, "content");
        expect([post.status, post.code]).toEqual([400, "DIGEST_INVALID"]);
        expect((await registry.send("HEAD", `/v2/a/blobs/${digest}`)).status).toBe(404);
      }
      const location = await client.startUpload("a");
      for (const text of ["sha256:baddigeststring", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256", ""]) {
        expect((await registry.send("PUT", `${location}?digest=${text}`, "content")).status).toBe(400);
        expect((await registry.send("POST", `/v2/a/blobs/uploads/?digest=${text}`, "content")).status).toBe(400);
      }
      expect((await registry.send("PUT", location, "content")).status).toBe(400);
      expect((await registry.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", "")).status).toBe(400);
      expect((await registry.send("PUT", `${location}?digest=${digestOf("content")}`, "content")).status).toBe(201);
    },
  );

  point(["post-202"], "a POST that announces a digest and sends nothing goes on with PUT", async () => {
    const digest = digestOf("content");
    const start = await registry.send("POST", `/v2/a/blobs/uploads/?digest=${digest}`, "");
    expect(start.status).toBe(202);
    expect((await registry.send("PUT", `${start.location}?digest=${digest}`, "content")).status).toBe(201);
  });

  point(["cancel-204", "Blob upload cancel"], "an upload can be cancelled", async () => {
    const location = await client.startUpload("a");
    await registry.send("PATCH", location, "some");
    expect((await registry.send("DELETE", location)).status).toBe(204);
    for (const method of ["GET", "PATCH", "DELETE"]) {
      const gone = await registry.send(method, location, method === "PATCH" ? "x" : null);
      expect([method, gone.status, gone.code]).toEqual([method, 404, "BLOB_UPLOAD_UNKNOWN"]);
    }
  });

  point(["upload-timeout", "retry-after"], "uploads are limited in number, and end when they lie idle", async () => {
    await registry.remake({ limits: { uploads: 2, uploadIdle: 1000 } });
    const location = await client.startUpload("a");
    await client.startUpload("a");
    const third = await registry.send("POST", "/v2/a/blobs/uploads/", "");
    expect([third.status, third.code, third.headers["retry-after"]]).toEqual([429, "TOOMANYREQUESTS", "60"]);
    registry.clock += 2 * 60 * 60 * 1000;
    expect((await registry.send("GET", location)).status).toBe(404);
    await expect.poll(async () => (await registry.send("POST", "/v2/a/blobs/uploads/", "")).status).toBe(202);
  });

  point(
    ["status-204", "chunk-order"],
    "one that breaks off goes on from where it is, or from where the client was told",
    async () => {
      const location = await client.startUpload("a");
      await registry.send("PATCH", location, "0123", { "content-range": "0-3" });
      const broken = async (): Promise<void> => {
        async function* cut(): AsyncIterable<Uint8Array> {
          yield Buffer.from("45");
          throw new Error("cut");
        }
        await registry.send("PATCH", location, cut()).catch(() => undefined);
        registry.forgive();
      };
      await broken();
      const again = await registry.send("PATCH", location, "4567", { "content-range": "4-7" });
      expect([again.status, again.headers.range]).toEqual([202, "0-7"]);
      await broken();
      // A connection that breaks may take its last bytes along: whatever is said to be there counts.
      const status = await registry.send("GET", location);
      const there = Number(/^0-([0-9]+)$/.exec(status.headers.range ?? "")?.[1]) + 1;
      expect([8, 9, 10]).toContain(there);
      const whole = `01234567${"45".slice(0, there - 8)}89`;
      const last = { "content-range": `${there}-${there + 1}` };
      const put = await registry.send("PUT", `${location}?digest=${digestOf(whole)}`, "89", last);
      expect(put.status).toBe(201);
      registry.forgive();
      expect((await registry.send("GET", `/v2/a/blobs/${digestOf(whole)}`)).text).toBe(whole);
    },
  );

  point(["chunk-416"], "one that a second request takes over ends the first with 416", async () => {
    const location = await client.startUpload("a");
    let began = (): void => {};
    const running = new Promise<void>((resolve) => {
      began = resolve;
    });
    async function* endless(): AsyncIterable<Uint8Array> {
      yield Buffer.from("012");
      began();
      await new Promise(() => {});
    }
    const whole = { "content-range": "0-9" };
    const first = registry.send("PATCH", location, endless(), whole);
    await running;
    const second = await registry.send("PATCH", location, "0123456789", whole);
    expect([second.status, (await first).status]).toEqual([202, 416]);
    expect((await registry.send("PUT", `${location}?digest=${digestOf("0123456789")}`, "")).status).toBe(201);
  });

  point([], "an upload belongs to its repository, and to who began it", async () => {
    const elsewhere = await client.startUpload("a");
    expect((await registry.send("GET", elsewhere.replace("/a/", "/b/"))).status).toBe(404);
    await registry.remake({
      authorize: async ({ headers }) => ({ allowed: true, principal: { subject: headers["x-user"] ?? null } }),
    });
    const { location } = await registry.send("POST", "/v2/a/blobs/uploads/", "", { "x-user": "alice" });
    for (const method of ["GET", "PATCH", "DELETE"]) {
      expect((await registry.send(method, location, null, { "x-user": "bob" })).status).toBe(404);
    }
    expect((await registry.send("GET", location, null, { "x-user": "alice" })).status).toBe(204);
  });

  point([], "a long upload does not pile up in memory", async () => {
    // memory keeps what it gets, and over HTTP the sender's own buffers would be seen too
    if (registry.standing.storage === "memory" || registry.standing.over === "HTTP") return;
    const location = await client.startUpload("a");
    const [size, count] = [64 * 1024, 4000];
    let most = 0;
    async function* long(): AsyncIterable<Uint8Array> {
      for (let sent = 0; sent < count; sent++) {
        // as a socket gives them
        yield Buffer.alloc(size, sent);
        most = Math.max(most, process.memoryUsage().arrayBuffers);
      }
    }
    const answer = await registry.send("PATCH", location, long());
    expect(answer.headers.range).toBe(`0-${count * size - 1}`);
    expect(most).toBeLessThan(128 * 1024 * 1024);
    await registry.send("DELETE", location);
  });
};
