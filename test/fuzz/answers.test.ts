import fc from "fast-check";
import { describe, expect } from "vitest";
import { errorCodes } from "../../src/errors.js";
import { bodyOf } from "../../src/registry/body.js";
import { registryError } from "../../src/registry/registry-error.js";
import { fetchToken } from "../../src/registry/token.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileJson } from "./json-mutation.js";
import { hostileText } from "./mutation.js";

const url = new URL("https://registry.example/v2/a/b/manifests/v1");

describe("a registry's error", () => {
  const bodies = [
    { errors: [{ code: "MANIFEST_UNKNOWN", message: "manifest unknown", detail: { Tag: "v1" } }] },
    {
      errors: [{ code: "TOOMANYREQUESTS", message: "You have reached your pull rate limit." }, { code: "constructor" }],
    },
    { message: "forbidden", error: { code: 403 }, details: "x" },
  ];
  const status = fc.constantFrom(400, 401, 403, 404, 406, 418, 429, 500, 503);
  const waits = hostileText(["120", "Sat, 28 Nov 2026 10:00:00 GMT"]);
  fuzz(
    "has a code of the list, and a short message",
    fc.tuple(hostileJson(bodies), status, waits),
    async ([body, number, wait]) => {
      const answer = { status: number, headers: { "retry-after": wait }, body: bodyOf(body), url };
      const error = await registryError({ method: "GET" }, answer, "reading the manifest v1", url.host);
      expect(errorCodes).toContain(error.code);
      expect(error.message.length).toBeLessThanOrEqual(4096);
      expect(error.message).not.toMatch(/[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/);
    },
  );
});

describe("a token service's answer", () => {
  const secret = "canary-3f9a";
  const bodies = [
    { token: "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", expires_in: 300, issued_at: "2026-11-28T10:00:00Z" },
    { access_token: "abc.def", token: "", expires_in: -1, refresh_token: secret },
    { token: `${secret}\r\nx-injected: 1` },
  ];
  fuzz("is a token that fits a header, or refused unquoted", hostileJson(bodies), async (body) => {
    const request = { realm: new URL("https://auth.example/token"), service: null, scopes: [], credential: null };
    const send = async () => ({ status: 200, headers: {}, body: bodyOf(body), url: request.realm });
    const codes = ["unauthorized", "denied", "unsafe-url", "limit-exceeded", "unreachable", "unsupported"] as const;
    const token = await unlessRefused(codes, async () => {
      try {
        return await fetchToken(send, request, AbortSignal.timeout(60_000));
      } catch (error) {
        expect(String((error as Error).message)).not.toContain(secret);
        throw error;
      }
    });
    if (token === null) return;
    expect(token.value).toMatch(/^[A-Za-z0-9\-._~+/]+=*$/);
    expect(Number.isFinite(token.lifetime) && token.lifetime >= 60, String(token.lifetime)).toBe(true);
  });
});
