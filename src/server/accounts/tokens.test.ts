import { beforeEach, describe, expect, it } from "vitest";
import { basic, bearer, GuardedRegistry, passwordOf } from "../../../test/support/guarded-registry.js";
import { manualClock } from "../../../test/support/manual-clock.js";
import { MemoryStorage } from "../storage/memory.js";
import { AccountStore } from "./account-store.js";
import { SigningKeys } from "./signing-keys.js";
import { type Bearer, Tokens } from "./token.js";

const alice: Bearer = { kind: "user", name: "alice", id: "1", generation: 1 };
const day = 24 * 60 * 60_000;

describe("keys that sign tokens", () => {
  const clock = manualClock();
  let storage: MemoryStorage;
  /** What two processes on one storage have. */
  let [one, other]: [SigningKeys, SigningKeys] = [] as never;

  beforeEach(() => {
    storage = new MemoryStorage(clock.now);
    [one, other] = [0, 1].map(() => new SigningKeys(new AccountStore(storage), clock.now)) as [
      SigningKeys,
      SigningKeys,
    ];
  });
  const tokens = (keys: SigningKeys) => new Tokens(keys, clock.now, 900);

  it("are one for all that share a storage, whoever makes it", async () => {
    const [first, second] = await Promise.all([one.signing(), other.signing()]);
    expect(first.kid).toBe(second.kid);
    expect(await one.issuer()).toBe(await other.issuer());
    const token = await tokens(one).issue(alice, []);
    expect(await tokens(other).verify(token)).toMatchObject({ bearer: alice });
  });

  it("change, and the one before stays valid; the one before that does not", async () => {
    const [oldest, before] = [await tokens(one).issue(alice, []), (await other.signing()).kid];
    await one.rotate();
    const older = await tokens(one).issue(alice, []);
    clock.advance(2000);
    // the other process has not heard of it, and looks
    expect(await tokens(other).verify(older)).not.toBeNull();
    expect(await tokens(other).verify(oldest)).not.toBeNull();
    expect((await other.signing()).kid).not.toBe(before);
    await other.rotate();
    expect(await tokens(other).verify(oldest)).toBeNull();
    expect(await tokens(other).verify(older)).not.toBeNull();
  });

  it("change by themselves after 30 days", async () => {
    const { kid } = await one.signing();
    clock.advance(29 * day);
    expect((await one.signing()).kid).toBe(kid);
    clock.advance(2 * day);
    const [next, same] = [await one.signing(), await other.signing()];
    expect(next.kid).not.toBe(kid);
    expect(same.kid).toBe(next.kid);
  });
});

describe("the token service", () => {
  it("gives what was asked for and may be had, by GET and by POST", async () => {
    const guarded = new GuardedRegistry();
    try {
      const { alice: key } = await guarded.users("alice", "bob");
      const scopes = ["repository:alice/app:pull,push", "repository:bob/app:pull repository:alice/x:*"];
      const wanted = [
        { type: "repository", name: "alice/app", actions: ["pull", "push"] },
        { type: "repository", name: "alice/x", actions: ["pull", "push", "delete"] },
      ];
      const access = (token: unknown) =>
        (JSON.parse(Buffer.from(String(token).split(".")[1] ?? "", "base64url").toString()) as { access: unknown })
          .access;
      expect(access(await guarded.token(key, ...scopes))).toEqual(wanted);
      expect(access(await guarded.token(null, ...scopes))).toEqual([]);
      const post = (fields: Record<string, string>) =>
        guarded.ask("POST", "/auth/token", { body: new URLSearchParams(fields).toString() });
      const scope = scopes.join(" ");
      const form = { grant_type: "password", username: "alice", password: passwordOf("alice"), scope };
      const answer = await post(form);
      expect(answer).toMatchObject({ status: 200, json: { expires_in: 900, token_type: "Bearer" } });
      expect(answer.headers["cache-control"]).toBe("no-store");
      expect(answer.json.token).toBe(answer.json.access_token);
      expect(access(answer.json.token)).toEqual(wanted);
      expect((await post({ ...form, password: "wrong-password" })).status).toBe(401);
      expect((await post({ grant_type: "refresh_token", refresh_token: "unknown" })).status).toBe(400);
      const { key: secret } = await (await guarded.registry.accounts()).keys.add({ owner: "alice" });
      const refreshed = await post({ grant_type: "refresh_token", refresh_token: secret, scope });
      expect(access(refreshed.json.token)).toEqual(wanted);
      // a token gets no other one
      const again = await guarded.ask("GET", "/auth/token", { as: bearer(String(answer.json.token)) });
      expect(again.status).toBe(401);
      expect((await guarded.ask("PUT", "/auth/token")).status).toBe(405);
    } finally {
      await guarded.close();
    }
  });

  it("says when a key was last used, to the hour, and lets it in no longer than it lasts", async () => {
    const guarded = new GuardedRegistry();
    try {
      await guarded.users("alice");
      const { keys } = await guarded.registry.accounts();
      const expires = new Date(guarded.clock.now() + 2 * day).toISOString();
      const { id, key } = await keys.add({ owner: "alice", expires });
      const as = basic("anybody", key);
      expect((await keys.show(id)).lastUsed).toBeNull();
      const start = guarded.clock.now();
      for (const minutes of [0, 30, 29]) {
        guarded.clock.advance(minutes * 60_000);
        expect((await guarded.ask("GET", "/v2/", { as })).status).toBe(200);
        expect((await keys.show(id)).lastUsed).toBe(new Date(start).toISOString());
      }
      guarded.clock.advance(60_000);
      await guarded.ask("GET", "/v2/", { as });
      expect((await keys.show(id)).lastUsed).toBe(new Date(guarded.clock.now()).toISOString());
      const token = bearer(await guarded.token(as, "repository:alice/app:pull"));
      guarded.clock.advance(2 * day);
      expect((await guarded.ask("GET", "/v2/", { as })).status).toBe(401);
      expect((await guarded.ask("GET", "/v2/", { as: token })).status).toBe(401);
    } finally {
      await guarded.close();
    }
  });
});
