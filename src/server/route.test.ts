import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf } from "../oci/digest.js";
import { Fault } from "./fault.js";
import { parseRoute } from "./route.js";

const digest = digestOf("x");
const id = "00000000-1111-2222-3333-444444444444";

describe("a route", () => {
  it.each([
    ["GET", "/v2/", { endpoint: "base", action: "ping" }],
    ["HEAD", "/v2", { endpoint: "base", action: "ping" }],
    ["GET", "/v2/_catalog?n=1", { endpoint: "catalog", action: "catalog" }],
    ["GET", "/v2/a/tags/list", { endpoint: "tags", repository: "a", action: "pull" }],
    ["GET", "/v2/a/b/c/tags/list?n=2", { endpoint: "tags", repository: "a/b/c", action: "pull" }],
    ["GET", `/v2/a/referrers/${digest}`, { endpoint: "referrers", repository: "a", digest, action: "pull" }],
    ["GET", `/v2/a/blobs/${digest}`, { endpoint: "blob", repository: "a", digest, action: "pull" }],
    ["HEAD", `/v2/a/blobs/${digest.replace(":", "%3A")}`, { endpoint: "blob", digest, action: "pull" }],
    ["DELETE", `/v2/a/blobs/${digest}`, { endpoint: "blob", action: "delete" }],
    ["POST", "/v2/a/blobs/uploads/", { endpoint: "uploads", repository: "a", action: "push" }],
    ["POST", "/v2/a/blobs/uploads?mount=x", { endpoint: "uploads", repository: "a", action: "push" }],
    ["PATCH", `/v2/a/blobs/uploads/${id}`, { endpoint: "upload", uploadId: id, action: "push" }],
    ["DELETE", `/v2/a/blobs/uploads/${id}`, { endpoint: "upload", action: "push" }],
    ["PUT", "/v2/a/manifests/v1", { endpoint: "manifest", reference: "v1", action: "push" }],
    ["DELETE", `/v2/a/manifests/${digest}`, { endpoint: "manifest", reference: digest, action: "delete" }],
    // names that hold the words of the endpoints
    ["GET", "/v2/manifests/blobs/tags/list", { endpoint: "tags", repository: "manifests/blobs" }],
    [
      "GET",
      "/v2/blobs/uploads/manifests/list",
      { endpoint: "manifest", repository: "blobs/uploads", reference: "list" },
    ],
    ["GET", "/v2/a/tags/manifests/list", { endpoint: "manifest", repository: "a/tags", reference: "list" }],
    ["GET", `/v2/v2/v2/blobs/${digest}`, { endpoint: "blob", repository: "v2/v2" }],
  ])("%s %s", (method, target, expected) => {
    expect(parseRoute(method, target)).toMatchObject({ method, ...expected });
  });

  it.each([
    ["GET", "/", 404, "UNSUPPORTED"],
    ["GET", "/v2/a", 404, "UNSUPPORTED"],
    ["GET", "/v2//tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/tags/list", 404, "UNSUPPORTED"],
    ["GET", "/v2/A/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/a//b/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/../a/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/..%2fa/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/%252e%252e/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/a%00/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/a%ff/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/c:/tags/list", 400, "NAME_INVALID"],
    ["GET", `/v2/${"a".repeat(256)}/tags/list`, 400, "NAME_INVALID"],
    ["GET", `/v2/${"a/".repeat(33)}tags/list`, 400, "NAME_INVALID"],
    ["GET", "/v2/a/blobs/sha256:bad", 400, "DIGEST_INVALID"],
    ["GET", "/v2/a/manifests/sha256:bad", 400, "DIGEST_INVALID"],
    ["GET", "/v2/a/manifests/..", 404, "MANIFEST_UNKNOWN"],
    ["PUT", "/v2/a/manifests/..", 400, "MANIFEST_INVALID"],
    ["PUT", `/v2/a/manifests/${"t".repeat(129)}`, 400, "MANIFEST_INVALID"],
    ["PATCH", "/v2/a/blobs/uploads/..%2f..", 404, "UNSUPPORTED"],
    ["PATCH", "/v2/a/blobs/uploads/not-an-id", 404, "BLOB_UPLOAD_UNKNOWN"],
    ["POST", "/v2/a/manifests/v1", 405, "UNSUPPORTED"],
    ["constructor", "/v2/", 405, "UNSUPPORTED"],
    ["PUT", "/v2/_catalog", 405, "UNSUPPORTED"],
  ])("%s %s is refused", (method, target, status, code) => {
    expect(() => parseRoute(method, target)).toThrow(expect.objectContaining({ status, code }));
  });

  it("is found or refused, whatever comes, and never leads out of the storage", () => {
    const piece = fc.oneof(
      fc.constantFrom("v2", "a", "..", ".", "blobs", "uploads", "manifests", "tags", "list", "", "%2e%2e", id, digest),
      fc.string(),
    );
    const target = fc.array(piece, { maxLength: 8 }).map((pieces) => `/v2/${pieces.join("/")}`);
    fc.assert(
      fc.property(fc.constantFrom("GET", "PUT", "POST", "DELETE"), target, (method, text) => {
        try {
          const route = parseRoute(method, text);
          const repository = "repository" in route ? route.repository : "a";
          return repository.split("/").every((component) => /^[a-z0-9][a-z0-9._-]*$/.test(component));
        } catch (error) {
          return error instanceof Fault;
        }
      }),
    );
  });
});
