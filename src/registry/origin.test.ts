import fc from "fast-check";
import { expect, test } from "vitest";
import { authorized, redirectedHeaders } from "./origin.js";

const secret = "Bearer canary-secret";
/** Few enough that the same origin comes again, in more than one spelling. */
const places = fc
  .record({
    scheme: fc.constantFrom("https:", "http:", "HTTPS:"),
    host: fc.constantFrom(
      "reg.example",
      "REG.example",
      "reg.example.",
      "other.example",
      "127.0.0.1",
      "[::1]",
      "0x7f.1",
    ),
    port: fc.constantFrom("", ":443", ":80", ":5000"),
    path: fc.constantFrom("/v2/", "/v2/a/blobs/x?token=1", "/@reg.example/"),
  })
  .map(({ scheme, host, port, path }) => new URL(`${scheme}//${host}${port}${path}`));
const headers = fc.dictionary(
  fc.constantFrom("accept", "range", "user-agent", "cookie", "authorization", "proxy-authorization", "x-token", "link"),
  fc.constantFrom("a", "b"),
);

const samePlace = (one: URL, other: URL) =>
  one.protocol === other.protocol && one.hostname === other.hostname && one.port === other.port;

test("a credential is on a request where its origin is the request's, and on no other", () => {
  fc.assert(
    fc.property(places, places, headers, fc.boolean(), (home, to, before, known) => {
      const after = authorized(before, to, home.origin, known ? secret : null);
      expect(after.authorization).toBe(known && samePlace(home, to) ? secret : undefined);
      const { authorization: _, ...others } = before;
      expect(after).toMatchObject(others);
    }),
  );
});

test("once an origin was left, only the allow-list is there, also back at home", () => {
  fc.assert(
    fc.property(places, fc.array(places, { maxLength: 6 }), headers, (home, hops, before) => {
      const first = authorized(before, home, home.origin, secret);
      let current = first;
      let at = home;
      let left = false;
      for (const hop of hops) {
        current = redirectedHeaders(current, at, hop);
        left ||= !samePlace(at, hop);
        at = hop;
        const allowed = ["accept", "range", "user-agent"];
        const expected = left
          ? Object.entries(first).filter(([name]) => allowed.includes(name))
          : Object.entries(first);
        expect(current).toEqual(Object.fromEntries(expected));
      }
    }),
  );
});
