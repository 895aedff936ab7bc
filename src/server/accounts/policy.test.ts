import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryStorage } from "../storage/memory.js";
import { AccountRecords } from "./account-records.js";
import { AccountStore } from "./account-store.js";
import { anonymous, type Identity, Policy } from "./policy.js";
import { type Grant, grantedRole, holds, isWithin, lesser, roles, scopesOf } from "./role.js";

const part = fc.constantFrom("a", "b", "a-evil", "ab");
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const role = fc.constantFrom(...roles);
const grants = fc.uniqueArray(fc.record({ scope: path, role }), { selector: ({ scope }) => scope, maxLength: 6 });

describe("scopes", () => {
  it("hold whole components alone", () => {
    expect(scopesOf("acme/web/app")).toEqual(["acme/web/app", "acme/web", "acme"]);
    expect(isWithin("acme-evil/x", "acme")).toBe(false);
    expect(isWithin("acme/x", "acme")).toBe(true);
    expect(isWithin("acme", "acme/x")).toBe(false);
    fc.assert(fc.property(path, path, (one, other) => isWithin(one, other) === scopesOf(one).includes(other)));
  });

  it("decide by the longest that matches, in whatever order they are given", () => {
    fc.assert(
      fc.property(grants, path, (given, at) => {
        const matching = given.filter(({ scope }) => isWithin(at, scope));
        const [longest] = matching.sort((one, other) => other.scope.length - one.scope.length);
        expect(grantedRole([...given].reverse(), at)).toBe(longest?.role ?? null);
      }),
    );
  });
});

describe("the policy", () => {
  it("denies what nothing allows, and gives a key no more than its owner has", async () => {
    const store = new AccountStore(new MemoryStorage(Date.now));
    const records = new AccountRecords(store, Date.now);
    // two of one component, that no prefix of a name may mix up
    await records.users.import(`bob:$2y$05$${"a".repeat(53)}`);
    for (const name of ["a", "a-evil", "ab"]) await records.orgs.add({ name });
    for (const name of ["a/b", "a/b/a", "ab/b", "a-evil/a"]) await records.projects.add({ name });
    const user = await store.get("users", "bob");
    if (user === null) throw new Error("bob is there");
    const bob: Identity = { kind: "user", user };
    const set = (given: readonly Grant[]) =>
      Promise.all(
        ["a", "a-evil", "ab", "a/b", "a/b/a", "ab/b", "a-evil/a"].map(async (scope) => {
          const kind = scope.includes("/") ? "projects" : "orgs";
          const record = await store.get(kind, scope);
          if (record === null) throw new Error("made above");
          const grant = given.find((one) => one.scope === scope);
          const members = grant === undefined ? {} : { bob: { id: user.id, role: grant.role } };
          await store.put(kind, scope, { ...record, members });
        }),
      );
    const memberships = fc.uniqueArray(
      fc.record({ scope: fc.constantFrom("a", "a-evil", "ab", "a/b", "a/b/a", "ab/b", "a-evil/a"), role }),
      { selector: ({ scope }) => scope },
    );
    await fc.assert(
      fc.asyncProperty(memberships, grants, path, async (given, keyGrants, at) => {
        await set(given);
        const policy = new Policy(store);
        const owns = await policy.role(bob, at);
        expect(owns).toBe(grantedRole(given, at) ?? "none");
        expect(await policy.role(anonymous, at)).toBe("none");
        const owner = { kind: "user", name: "bob", id: user.id } as const;
        const key = { id: "0", label: "", owner, hash: "", created: "", expires: null, lastUsed: null };
        const held = await policy.role({ kind: "key", key: { ...key, grants: keyGrants }, user }, at);
        expect(held).toBe(lesser(grantedRole(keyGrants, at) ?? "none", owns));
        expect(await policy.role({ kind: "key", key: { ...key, grants: null }, user }, at)).toBe(owns);
        // a robot is at home in its organisation alone
        const robot = { ...key, owner: { kind: "org", name: "a", id: "0" }, grants: keyGrants } as const;
        const reach = await policy.role({ kind: "key", key: robot, user: null }, at);
        if (!isWithin(at, "a")) expect(reach).toBe("none");
        expect(await policy.role({ kind: "user", user: { ...user, id: "another" } }, at)).toBe("none");
        expect(await policy.role({ kind: "user", user: { ...user, disabled: true } }, at)).toBe("none");
        expect(await policy.role({ kind: "user", user: { ...user, admin: true } }, at)).toBe("admin");
      }),
      { numRuns: 300 },
    );
  });

  it("lets everybody read what is public, and no more; the longest project decides", async () => {
    const store = new AccountStore(new MemoryStorage(Date.now));
    const records = new AccountRecords(store, Date.now);
    await records.orgs.add({ name: "acme" });
    await records.projects.add({ name: "acme/open", visibility: "public" });
    await records.projects.add({ name: "acme/open/inner" });
    const policy = new Policy(store);
    const reads = async (at: string) => holds(await policy.role(anonymous, at), "read");
    expect(await reads("acme/open")).toBe(true);
    expect(await reads("acme/open/app")).toBe(true);
    expect(await policy.role(anonymous, "acme/open/app")).toBe("read");
    for (const at of ["acme", "acme/other", "acme/open-evil", "acme/open/inner", "acme/open/inner/app"]) {
      expect(await reads(at), at).toBe(false);
    }
  });
});
