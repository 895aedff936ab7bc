import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseChallenges } from "./challenge.js";

const read = (header: string) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe("parseChallenges", () => {
  test.each([
    ['Basic realm="a b"', [["basic", { realm: "a b" }]]],
    [
      'Bearer realm="https://auth.example/token",service="reg, x",scope="repository:a/b:pull,push"',
      [["bearer", { realm: "https://auth.example/token", service: "reg, x", scope: "repository:a/b:pull,push" }]],
    ],
    ["bearer realm=https, error=insufficient_scope", [["bearer", { realm: "https", error: "insufficient_scope" }]]],
    [
      'Basic realm="one", Bearer realm="two" , service = "s"',
      [
        ["basic", { realm: "one" }],
        ["bearer", { realm: "two", service: "s" }],
      ],
    ],
    ["Negotiate", [["negotiate", {}]]],
    ['Bearer realm="a\\"b"', [["bearer", { realm: 'a"b' }]]],
    ['Bearer realm="first", realm="second"', [["bearer", { realm: "first" }]]],
    ["", []],
  ])("%s", (header, expected) => {
    expect(read(header)).toEqual(expected);
  });

  test("gives nothing for a missing or a huge header", () => {
    expect(parseChallenges(undefined)).toEqual([]);
    expect(parseChallenges(`Bearer realm="${"x".repeat(1_000_000)}"`)).toEqual([]);
  });

  test("ends for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(parseChallenges(text).length).toBeLessThanOrEqual(text.length);
      }),
    );
  });
});
