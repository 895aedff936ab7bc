import { createHash, timingSafeEqual } from "node:crypto";
import { limits } from "../../oci/limits.js";
import type { AccessEntry } from "./access.js";
import type { AccountStore, UserRecord } from "./account-store.js";
import { isSameKey, keyId } from "./api-key.js";
import type { LoginLimits } from "./login-limits.js";
import type { PasswordChecker } from "./password.js";
import { anonymous, type Identity } from "./policy.js";
import type { Bearer, Tokens } from "./token.js";

/** What an `Authorization` header proves. */
export type Authentication =
  | {
      readonly ok: true;
      readonly identity: Identity;
      /** What the token allows; null where the secret itself was shown, which allows all that its owner may. */
      readonly access: readonly AccessEntry[] | null;
      readonly by: "nothing" | "password" | "key" | "token" | "operator";
    }
  | {
      readonly ok: false;
      readonly by: "password" | "key" | "token";
      /** The account that was tried, where there is one of this name: other text may be a password in the wrong field. */
      readonly account: string | null;
      /** Seconds to wait, where there were too many tries. */
      readonly retryAfter: number | null;
    };

export interface AuthenticatorParts {
  readonly store: AccountStore;
  readonly tokens: Tokens;
  readonly passwords: PasswordChecker;
  readonly loginLimits: LoginLimits;
  readonly now: () => number;
}

/** Characters of a user name or password that are looked at. */
const longestField = 1024;
/** Seconds to come back after where too many log in at once. */
const busyFor = 2;
/** How exact `lastUsed` of a key is, in ms: more would be a write per request. */
const usedEvery = 60 * 60_000;

/** Finds out who asks. */
export class Authenticator {
  readonly #parts: AuthenticatorParts;
  /** What whoever serves this folder keeps in it, for those who may read its files. */
  #operator: Buffer | null = null;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  trustOperator(secret: string | null): void {
    this.#operator = secret === null ? null : sha256(secret);
  }

  async authenticate(header: string | undefined, address: string | null): Promise<Authentication> {
    if (header === undefined) return { ok: true, identity: anonymous, access: null, by: "nothing" };
    if (header.length > limits.authorization) return refusedToken;
    const [, scheme = "", value = ""] = /^([A-Za-z]+) +(\S+)$/.exec(header.trim()) ?? [];
    if (scheme.toLowerCase() === "bearer") return await this.#bearer(value, address);
    if (scheme.toLowerCase() !== "basic") return refusedToken;
    const pair = Buffer.from(value, "base64").toString("utf8");
    const colon = pair.indexOf(":");
    if (colon === -1) return refusedToken;
    return await this.password(pair.slice(0, colon), pair.slice(colon + 1), address);
  }

  /** A user with a password, or anybody's name with an API key in its place. */
  async password(name: string, password: string, address: string | null): Promise<Authentication> {
    // docker sends an identity token that it was given as a password of `<token>`
    if (keyId(password) !== null) return await this.#key(password, address);
    const { store, passwords, loginLimits, now } = this.#parts;
    if (name.length > longestField || password.length > longestField || !/^[a-z0-9._-]+$/.test(name)) {
      // no account has such a name: nothing to protect, but the address counts
      loginLimits.failed(address, null);
      return { ok: false, by: "password", account: null, retryAfter: null };
    }
    const user = await store.get("users", name);
    const account = user === null ? null : name;
    const wait = loginLimits.wait(address, name);
    if (wait > 0) return { ok: false, by: "password", account, retryAfter: Math.ceil(wait / 1000) };
    const usable = user !== null && !user.disabled && !isExpired(user.passwordExpires, now());
    // asked again once it is this one's turn: whoever tries many at once gets no more tries
    const mayTry = () => loginLimits.wait(address, name) === 0;
    const right = await passwords.check(password, usable ? user.password : null, mayTry);
    if (right === "busy") return { ok: false, by: "password", account, retryAfter: busyFor };
    if (!right || user === null) {
      loginLimits.failed(address, name);
      return { ok: false, by: "password", account, retryAfter: null };
    }
    loginLimits.succeeded(name);
    if (!user.password?.startsWith("$scrypt$")) await this.#rehash(user, password);
    return { ok: true, identity: { kind: "user", user }, access: null, by: "password" };
  }

  /** An imported hash becomes one of ours. */
  async #rehash(user: UserRecord, password: string): Promise<void> {
    const { store, passwords } = this.#parts;
    const hash = await passwords.hash(password).catch(() => null);
    // the next login does it
    if (hash === null) return;
    await store.exclusive(async () => {
      const current = await store.get("users", user.name);
      if (current === null || current.password !== user.password) return;
      await store.put("users", user.name, { ...current, password: hash });
    });
  }

  async #bearer(value: string, address: string | null): Promise<Authentication> {
    if (keyId(value) !== null) return await this.#key(value, address);
    if (this.#operator !== null && timingSafeEqual(sha256(value), this.#operator)) {
      return { ok: true, identity: { kind: "operator" }, access: null, by: "operator" };
    }
    const token = await this.#parts.tokens.verify(value);
    const identity = token === null ? null : await this.#identityOf(token.bearer);
    if (token === null || identity === null) return refusedToken;
    return { ok: true, identity, access: token.access, by: "token" };
  }

  async #identityOf({ kind, name, id, generation }: Bearer): Promise<Identity | null> {
    if (kind === "anonymous") return anonymous;
    if (kind === "key") return await this.#keyIdentity(name, null);
    const user = await this.#parts.store.get("users", name);
    if (user === null || user.id !== id || user.generation !== generation || user.disabled) return null;
    return { kind: "user", user };
  }

  async #key(text: string, address: string | null): Promise<Authentication> {
    const id = keyId(text) ?? "";
    const { loginLimits } = this.#parts;
    const identity = await this.#keyIdentity(id, text);
    if (identity !== null) return { ok: true, identity, access: null, by: "key" };
    // 256 bits are not guessed: what is counted is the address
    const wait = loginLimits.wait(address, null);
    loginLimits.failed(address, null);
    return { ok: false, by: "key", account: null, retryAfter: wait > 0 ? Math.ceil(wait / 1000) : null };
  }

  /** @param text The key itself, or null where a token of ours vouches for it. */
  async #keyIdentity(id: string, text: string | null): Promise<Identity | null> {
    const { store, now } = this.#parts;
    const key = await store.get("keys", id);
    if (key === null || (text !== null && !isSameKey(text, key.hash))) return null;
    if (isExpired(key.expires, now())) return null;
    const { owner } = key;
    const user = owner.kind === "user" ? await store.get("users", owner.name) : null;
    if (owner.kind === "user" && (user === null || user.id !== owner.id || user.disabled)) return null;
    if (owner.kind === "org" && (await store.get("orgs", owner.name))?.id !== owner.id) return null;
    if (text !== null && now() - Date.parse(key.lastUsed ?? "1970-01-01") >= usedEvery) await this.#used(id);
    return { kind: "key", key, user };
  }

  async #used(id: string): Promise<void> {
    const { store, now } = this.#parts;
    await store.exclusive(async () => {
      const key = await store.get("keys", id);
      if (key !== null) await store.put("keys", id, { ...key, lastUsed: new Date(now()).toISOString() });
    });
  }
}

const refusedToken: Authentication = { ok: false, by: "token", account: null, retryAfter: null };

function isExpired(when: string | null, now: number): boolean {
  return when !== null && Date.parse(when) <= now;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
