import fc from "fast-check";
import { expect, it } from "vitest";
import { covers, formatScope, mostScopes, parseScopes } from "./access.js";

it.each([
  ["repository:alice/app:pull,push", [{ type: "repository", name: "alice/app", actions: ["pull", "push"] }]],
  ["repository(plugin):alice/app:pull", [{ type: "repository", name: "alice/app", actions: ["pull"] }]],
  ["registry:catalog:*", [{ type: "registry", name: "catalog", actions: ["*"] }]],
  ["repository:alice/app:pull,pull,PUSH,p1,", [{ type: "repository", name: "alice/app", actions: ["pull"] }]],
  ["other:host:5000/name:pull", [{ type: "other", name: "host:5000/name", actions: ["pull"] }]],
  ["repository:../x:pull", []],
  ["repository::pull", []],
  ["repository:alice/app", []],
  ["", []],
  ["::", []],
] as const)("reads %j", (text, entries) => {
  expect(parseScopes([text]).filter(({ actions }) => actions.length > 0)).toEqual(entries);
});

it("takes scopes repeated and in one parameter for the same, and no more than it may", () => {
  const one = "repository:a:pull";
  const other = "repository:b:push";
  expect(parseScopes([one, other])).toEqual(parseScopes([`${one} ${other}`]));
  expect(parseScopes(Array.from({ length: 1000 }, () => one))).toHaveLength(mostScopes);
});

it("writes what it reads, and ends for any text", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 200 })), (texts) => {
      for (const entry of parseScopes(texts)) expect(parseScopes([formatScope(entry)])).toEqual([entry]);
    }),
  );
});

it("covers an action of that very repository alone", () => {
  const access = parseScopes(["repository:a:pull", "repository:a/b:push"]);
  const wanted = (name: string, ...actions: string[]) => ({ type: "repository", name, actions });
  expect(covers(access, wanted("a", "pull"))).toBe(true);
  expect(covers(access, wanted("a", "push"))).toBe(false);
  expect(covers(access, wanted("a/b", "push"))).toBe(true);
  expect(covers(access, wanted("a/b", "pull", "push"))).toBe(false);
  expect(covers(access, { type: "registry", name: "a", actions: ["pull"] })).toBe(false);
});
