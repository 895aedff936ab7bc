import fc from "fast-check";
import { describe, expect } from "vitest";
import { readAll } from "../../src/content/verify.js";
import { digestOf } from "../../src/oci/digest.js";
import type { WireHandler } from "../../src/oci/wire.js";
import { bodyOf } from "../../src/registry/body.js";
import { parseChallenges } from "../../src/registry/challenge.js";
import { nextPage } from "../../src/registry/link.js";
import { rateBudgetOf } from "../../src/registry/rate-budget.js";
import { retryAfter } from "../../src/registry/retry-after.js";
import { sessionOf } from "../../src/registry/upload-session.js";
import { createRegistry } from "../../src/server/index.js";
import { parseRange } from "../../src/server/range.js";
import { testClient } from "../support/registry-client.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileText } from "./mutation.js";

const challenges = [
  'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"',
  'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"',
  'Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:a/b:pull",error="invalid_token"',
  'Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
  'Basic realm="Registry", charset="UTF-8"',
  'Negotiate, Basic realm="a\\"b", Bearer realm="https://x.example/t" , service=x',
];

describe("challenge headers", () => {
  fuzz("any text is read to its end", hostileText(challenges), (header) => {
    const found = parseChallenges(header);
    expect(found.length).toBeLessThanOrEqual(header.length);
    let size = 0;
    for (const { scheme, parameters } of found) {
      expect(scheme).toMatch(/^[!#$%&'*+\-.^_`|~0-9a-z]+$/);
      for (const [name, value] of parameters) size += name.length + value.length;
    }
    expect(size).toBeLessThanOrEqual(header.length);
  });

  const token = fc.stringMatching(/^[a-z][a-z0-9_-]{0,12}$/);
  const challenge = fc.record({
    scheme: token,
    parameters: fc.dictionary(token, fc.string({ unit: "grapheme-ascii" }), { minKeys: 1 }),
  });
  fuzz("what is written is read again", fc.array(challenge, { minLength: 1, maxLength: 4 }), (list) => {
    const header = list
      .map(({ scheme, parameters }) => {
        const pairs = Object.entries(parameters).map(([name, value]) => `${name}="${value.replace(/["\\]/g, "\\$&")}"`);
        return `${scheme} ${pairs.join(", ")}`;
      })
      .join(", ");
    const found = parseChallenges(header);
    expect(found.map(({ scheme, parameters }) => ({ scheme, parameters: Object.fromEntries(parameters) }))).toEqual(
      list.map(({ scheme, parameters }) => ({ scheme, parameters: { ...parameters } })),
    );
  });
});

describe("Link", () => {
  const page = new URL("https://registry.example/v2/a/b/tags/list?n=100");
  const links = [
    '</v2/a/b/tags/list?last=v1&n=100>; rel="next"',
    '<https://registry.example/v2/a/b/tags/list?n=100&last=v9>; rel=next, <https://registry.example/>; rel="first"',
    '<tags/list?last=x>; title="next"; rel="next"',
    "/v2/a/b/tags/list?last=v1; rel=next",
    '<https://user@registry.example/v2/a/b/tags/list>; rel="next"',
    '<//evil.example/v2/a/b/tags/list>; rel="next"',
  ];
  fuzz("the next page is at the same place, or none", hostileText(links), async (header) => {
    const next = await unlessRefused(["unsafe-url", "limit-exceeded"], () => nextPage(header, page));
    if (next === null) return;
    expect([next.origin, next.pathname, next.username, next.password, next.hash]).toEqual([
      ...[page.origin, page.pathname, "", "", ""],
    ]);
  });
});

describe("Range and Content-Range", () => {
  const size = fc.oneof(fc.nat(100), fc.nat(), fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER));
  const ranges = ["bytes=0-9", "bytes=5-", "bytes=-3", "bytes=0-0,2-3", "bytes=9-1", "items=0-1", "bytes = 1-2"];
  fuzz("what is served lies inside", fc.tuple(hostileText(ranges), size), ([header, length]) => {
    const range = parseRange(header, length);
    if (range.kind !== "part") return;
    expect(Number.isSafeInteger(range.start) && Number.isSafeInteger(range.end)).toBe(true);
    expect(0 <= range.start && range.start <= range.end && range.end < length).toBe(true);
  });

  fuzz("a range is the one that was asked for", fc.tuple(fc.nat(), fc.nat(), fc.nat()), ([one, other, more]) => {
    const [start, end] = [Math.min(one, other), Math.max(one, other)];
    expect(parseRange(`bytes=${start}-${end}`, end + 1 + more)).toEqual({ kind: "part", start, end });
  });

  const contentRanges = ["0-9", "0-0", "10-19", "bytes 0-9/10", "bytes=0-9", "9-0", "0-", "-5", "0-9/*"];
  const lengths = fc.oneof(fc.constantFrom("10", "0", "1", "-1", "1e1", "ten", "99999999999999999999"), fc.string());
  fuzz(
    "the registry takes a chunk or refuses it",
    fc.tuple(hostileText(contentRanges), lengths),
    async ([range, length]) => {
      const registry = createRegistry({ storage: "memory" });
      const open = await registry.handle({ method: "POST", url: "/v2/a/b/blobs/uploads/", headers: {} });
      const url = open.headers.location ?? "";
      const headers = { "content-range": range, "content-length": length, "content-type": "application/octet-stream" };
      const answer = await registry.handle({ method: "PATCH", url, headers, body: bodyOf(Buffer.alloc(10)) });
      await readAll(answer.body, 1e6);
      expect(answer.status === 202 || (answer.status >= 400 && answer.status < 500), String(answer.status)).toBe(true);
      if (answer.status === 202) expect(answer.headers.range).toBe("0-9");
      await registry.close();
    },
  );

  const blob = Buffer.from("0123456789abcdefghij");
  const descriptor = { mediaType: "application/octet-stream", digest: digestOf(blob), size: blob.length };
  const rest = ["bytes 8-19/20", "bytes 0-19/20", "bytes 8-19/*", "bytes */20", "8-19/20", "bytes 8-18/20"];
  const hostileAnswer = fc.record({
    status: fc.constantFrom(200, 206, 206, 206, 416),
    range: fc.oneof(hostileText(rest), fc.constantFrom(...rest)),
    body: fc.oneof(
      fc.constantFrom(blob, blob.subarray(8), blob.subarray(7), Buffer.alloc(0), Buffer.concat([blob, blob])),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    ),
  });
  fuzz(
    "a download that goes on is whole, or an error",
    fc.array(hostileAnswer, { minLength: 1, maxLength: 6 }),
    async (answers) => {
      let asked = 0;
      const handler: WireHandler = async () => {
        const number = asked++;
        if (number === 0)
          return { status: 200, headers: { "content-length": "20" }, body: bodyOf(blob.subarray(0, 8)) };
        const { status, range, body } = answers[(number - 1) % answers.length] ?? {
          status: 500,
          range: "",
          body: blob,
        };
        return { status, headers: { "content-range": range }, body: bodyOf(body) };
      };
      const { client } = testClient("http://registry.example", { handler });
      const codes = ["digest-mismatch", "size-mismatch", "unreachable", "manifest-invalid", "unsupported"] as const;
      const bytes = await unlessRefused(codes, () => readAll(client.repository("a/b").get(descriptor), 1e6));
      if (bytes !== null) expect(Buffer.from(bytes)).toEqual(blob);
      expect(asked).toBeLessThan(40);
      client.close();
    },
  );
});

describe("other headers", () => {
  const now = Date.UTC(2026, 10, 28);
  const waits = ["120", "Sat, 28 Nov 2026 10:00:00 GMT", "880.092µs", "3600", "0", "Sat, 28 Nov 2026 10:00:00 +0900"];
  fuzz("Retry-After is a time or nothing", hostileText(waits), (header) => {
    const wait = retryAfter(header, now);
    if (wait !== null) expect(Number.isFinite(wait) && wait >= 0).toBe(true);
  });

  const budgets = ["100;w=21600", "76;w=21600", "100", "0;w=0", "100;w=21600, 200;w=60"];
  const sources = hostileText(["192.0.2.1", "7f3e2d1c-0b9a-4c8d-8e7f-6a5b4c3d2e1f"]);
  fuzz(
    "a rate limit is whole numbers or nothing",
    fc.tuple(hostileText(budgets), hostileText(budgets), sources),
    ([limit, remaining, source]) => {
      const headers = { "ratelimit-limit": limit, "ratelimit-remaining": remaining, "docker-ratelimit-source": source };
      const budget = rateBudgetOf(headers);
      if (budget === null) return;
      for (const number of [budget.limit, budget.remaining, budget.window ?? 0])
        expect(Number.isSafeInteger(number)).toBe(true);
      expect(budget.source ?? "").toMatch(/^[\w.:@-]{0,100}$/);
    },
  );

  const locations = [
    "/v2/a/b/blobs/uploads/1?_state=x",
    "https://registry.example/v2/a/b/blobs/uploads/1",
    "//x",
    "?y",
    "",
  ];
  const places = ["0-99", "0-0", "bytes=0-99", "99-0", "0-9999999999999999", "bytes 0-5"];
  fuzz(
    "an upload session is read, or refused",
    fc.tuple(hostileText(locations), hostileText(places), hostileText(["1024", "-1", "1e9"])),
    async ([location, range, minimum]) => {
      const url = new URL("https://registry.example/v2/a/b/blobs/uploads/");
      const headers = { location, range, "oci-chunk-min-length": minimum };
      const answer = { status: 202, headers, body: bodyOf(Buffer.alloc(0)), url };
      const before = { location: url, offset: 0, minimum: 0 };
      const session = await unlessRefused(["unsafe-url"], () => sessionOf(answer, before, 5));
      if (session === null) return;
      expect(session.offset).toBeGreaterThanOrEqual(0);
      expect(Number.isSafeInteger(session.minimum) && session.minimum >= 0).toBe(true);
    },
  );

  const targets = [
    ...[
      "/v2/",
      "/v2/_catalog?n=5&last=a",
      "/v2/a/b/tags/list?n=-1",
      "/v2/a/b/manifests/latest",
      "/v2/a/b/blobs/uploads/",
    ],
    ...[`/v2/a/b/manifests/sha256:${"0".repeat(64)}`, `/v2/a/b/blobs/sha256:${"0".repeat(64)}`, "/v2/a%2fb/tags/list"],
    ...[
      `/v2/a/b/referrers/sha256:${"0".repeat(64)}?artifactType=x`,
      "/v2/a/b/blobs/uploads/?mount=x&from=c/d",
      "/v2/../x",
    ],
  ];
  const registry = createRegistry({ storage: "memory" });
  const request = fc.record({
    method: fc.oneof(fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), fc.string()),
    url: hostileText(targets),
    headers: fc.dictionary(
      fc.constantFrom("accept", "range", "content-type", "content-length", "authorization", "if-none-match", "origin"),
      hostileText(["*/*", "bytes=0-1", "application/json", "10", "Basic YTpi", "W/x"]),
    ),
    body: fc.uint8Array({ maxLength: 100 }),
  });
  fuzz("any request is answered, and none with the server's own fault", request, async ({ body, ...asked }) => {
    const answer = await registry.handle({ ...asked, body: bodyOf(Buffer.from(body)) });
    await readAll(answer.body, 1e6);
    expect(answer.status < 500 && answer.status >= 200, `${answer.status}`).toBe(true);
  });
});
