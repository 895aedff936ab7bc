import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

/** What holds for every endpoint: support, methods, errors, prefixes, and who may. */
export const base: Area = ({ registry, client, point }) => {
  point(["Ping", "http"], "GET and HEAD of the base say that this is a registry", async () => {
    for (const url of ["/v2/", "/v2", "http://localhost:1/v2/", "/v2/?n=1"]) {
      expect((await registry.send("GET", url)).status).toBe(200);
    }
    expect((await registry.send("HEAD", "/v2/")).status).toBe(200);
  });

  point(
    ["category-pull", "category-others", "category-whole"],
    "there is every endpoint of every category",
    async () => {
      const image = await client.pushImage("a", "v1", "categories");
      const session = await client.startUpload("a");
      const blob = `/v2/a/blobs/${image.layer.digest}`;
      const headers = { "content-type": image.descriptor.mediaType };
      const asked: (readonly [string, string, (string | null)?, Record<string, string>?])[] = [
        ["GET", "/v2/"],
        ["GET", blob],
        ["HEAD", blob],
        ["GET", "/v2/a/manifests/v1"],
        ["HEAD", `/v2/a/manifests/${image.digest}`],
        ["POST", "/v2/a/blobs/uploads/", ""],
        ["POST", `/v2/a/blobs/uploads/?digest=${digestOf("x")}`, "x"],
        ["POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", ""],
        ["PATCH", session, "x"],
        ["GET", session],
        ["PUT", `${session}?digest=${digestOf("x")}`, ""],
        ["PUT", "/v2/a/manifests/v2", image.bytes, headers],
        ["PUT", `/v2/a/manifests/${image.digest}?tag=v3`, image.bytes, headers],
        ["GET", "/v2/a/tags/list"],
        ["GET", "/v2/a/tags/list?n=1&last=v1"],
        ["POST", `/v2/b/blobs/uploads/?mount=${image.layer.digest}&from=a`, ""],
        ["GET", `/v2/a/referrers/${image.digest}`],
        ["GET", `/v2/a/referrers/${image.digest}?artifactType=x`],
        ["DELETE", await client.startUpload("a")],
        ["DELETE", "/v2/a/manifests/v3"],
        ["DELETE", `/v2/a/manifests/${image.digest}`],
        ["DELETE", blob],
      ];
      const statuses: number[] = [];
      for (const request of asked) statuses.push((await registry.send(...request)).status);
      const expected = [200, 200, 200, 200, 200, 202, 201, 202, 202, 204, 201, 201, 201, 200, 200, 201, 200, 200];
      expect(statuses).toEqual([...expected, 204, 202, 202, 202]);
    },
  );

  point(
    ["http", "error-form", "error-code-form", "error-code-list", "error-message"],
    "errors say what they are",
    async () => {
      const wrong = await registry.send("DELETE", "/v2/");
      expect([wrong.status, wrong.code, wrong.headers.allow]).toEqual([405, "UNSUPPORTED", "GET, HEAD"]);
      for (const [method, url, status, code] of [
        ["GET", "/v1/", 404, "UNSUPPORTED"],
        ["GET", "/v2/a/nothing", 404, "UNSUPPORTED"],
        ["POST", "/v2/a/tags/list", 405, "UNSUPPORTED"],
        ["PUT", `/v2/a/blobs/${missing}`, 405, "UNSUPPORTED"],
        ["GET", "/v2/a/blobs/uploads/", 405, "UNSUPPORTED"],
        ["GET", `/v2/a/blobs/${missing}`, 404, "BLOB_UNKNOWN"],
        ["GET", "/v2/a/blobs/sha256:bad", 400, "DIGEST_INVALID"],
        ["GET", "/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN"],
        ["GET", "/v2/A/manifests/v1", 400, "NAME_INVALID"],
        ["GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN"],
        ["GET", "/v2/a/blobs/uploads/00000000-0000-0000-0000-000000000000", 404, "BLOB_UPLOAD_UNKNOWN"],
        ["GET", `/v2/a/tags/list?last=${"x".repeat(9000)}`, 414, "UNSUPPORTED"],
      ] as const) {
        const answer = await registry.send(method, url);
        expect([url, answer.status, answer.code]).toEqual([url, status, code]);
        expect(answer.headers["content-type"]).toBe("application/json");
      }
    },
  );

  point(
    ["name-form", "reference-form", "reference-other", "tag-form", "push-reference"],
    "names have their forms",
    async () => {
      for (const name of [
        "a",
        "0",
        "a.b",
        "a_b",
        "a__b",
        "a---b",
        "a/b",
        "a1/b-2/c_3",
        "a/manifests/blobs",
        "uploads",
      ]) {
        const { digest } = await client.pushImage(name, "v1", name);
        expect((await registry.send("GET", `/v2/${name}/manifests/${digest}`)).status).toBe(200);
      }
      for (const name of ["A", "a..b", "a___b", "-a", "a-", "a/", "/a", "a//b", "a/_b", ".a", "a b", "ä", "a/../b"]) {
        const answer = await registry.send("PUT", `/v2/${encodeURI(name)}/manifests/v1`, "{}");
        expect([name, answer.status, answer.code]).toEqual([name, 400, "NAME_INVALID"]);
      }
      const { bytes } = await client.pushImage("a", "v1", "tags");
      for (const tag of ["_", "0", "A.b-c_d", "x".repeat(128), "latest"]) {
        expect([tag, (await client.putManifest("a", tag, bytes)).status]).toEqual([tag, 201]);
        expect((await registry.send("GET", `/v2/a/manifests/${tag}`)).status).toBe(200);
      }
      for (const tag of [".a", "-a", "x".repeat(129), "a+b", "a%20b", "sha256:abc", "md5:0123"]) {
        expect([tag, (await client.putManifest("a", tag, bytes)).status]).toEqual([tag, 400]);
        expect([400, 404]).toContain((await registry.send("GET", `/v2/a/manifests/${tag}`)).status);
      }
    },
  );

  point(
    ["warning-form", "warning-date", "warning-size"],
    "there are no warnings, on no answer of these tests",
    async () => {
      // Every answer is looked at; these are some that other registries warn with.
      for (const url of ["/v2/", "/v2/_catalog", "/v2/a/tags/list"]) {
        expect((await registry.send("GET", url)).headers.warning).toBeUndefined();
      }
    },
  );

  point(["namespace"], "what a proxy would be told decides nothing, and is not repeated", async () => {
    const { digest, bytes } = await client.pushImage("a", "v1", "ns");
    for (const path of ["manifests/v1", `manifests/${digest}`]) {
      const answer = await registry.send("GET", `/v2/a/${path}?ns=docker.io`);
      expect([answer.status, answer.text, answer.headers["oci-namespace"]]).toEqual([200, bytes, undefined]);
    }
  });

  point(["trap-6"], "who may is asked before everything, and the challenge goes out as it is", async () => {
    const asked: string[] = [];
    const challenge = 'Bearer realm="https://example.org/token",service="s",scope="repository:a:pull"';
    await registry.remake({
      authorize: async ({ action, repository }) => {
        asked.push(`${action} ${repository}`);
        return { allowed: false, status: 401, challenge, message: "who are you?" };
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
      const answer = await registry.send(method, path);
      expect([answer.status, answer.headers["www-authenticate"]]).toEqual([401, challenge]);
    }
    const expected = "ping null|catalog null|pull a|pull a|pull a|delete a|push a|delete a|push a|push a";
    expect(asked).toEqual(expected.split("|"));
  });

  point([], "it answers under its prefix alone", async () => {
    await registry.remake({ prefix: "/registry" });
    expect((await registry.send("GET", "/v2/")).status).toBe(404);
    expect((await registry.send("GET", "/registry/v2/")).status).toBe(200);
    const start = await registry.send("POST", "/registry/v2/a/blobs/uploads/", "");
    expect(start.location).toMatch(/^\/registry\/v2\/a\/blobs\/uploads\//);
    const put = await registry.send("PUT", `${start.location}?digest=${digestOf("x")}`, "x");
    expect((await registry.send("GET", put.location)).text).toBe("x");
  });

  point([], "it answers 503 once it is closed", async () => {
    await registry.close();
    expect((await registry.send("GET", "/v2/")).status).toBe(503);
    registry.forgive();
  });
};
