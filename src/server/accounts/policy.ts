import type { AccountStore, KeyRecord, ScopeRecord, UserRecord } from "./account-store.js";
import { grantedRole, isWithin, lesser, type Role, scopesOf } from "./role.js";

/** Who asks, as the records say at this moment. */
export type Identity =
  | { readonly kind: "anonymous" }
  | { readonly kind: "user"; readonly user: UserRecord }
  /** `user` is null for a robot. */
  | { readonly kind: "key"; readonly key: KeyRecord; readonly user: UserRecord | null }
  /** Whoever may read the registry's own files: the machine's owner. */
  | { readonly kind: "operator" };

export const anonymous: Identity = { kind: "anonymous" };

/** What {@link Identity} is called where uploads are bound to it and decisions are logged; null is anonymous. */
export function subjectOf(identity: Identity): string | null {
  if (identity.kind === "user") return `user:${identity.user.name}:${identity.user.id}`;
  if (identity.kind === "key") return `key:${identity.key.id}`;
  return identity.kind === "operator" ? "operator" : null;
}

/**
 * Decides which role somebody has where, by the records of organisations and projects. One is made for each request, so
 * that each record is read once for it, and never trusted beyond it.
 */
export class Policy {
  readonly #store: AccountStore;
  readonly #scopes = new Map<string, Promise<ScopeRecord | null>>();

  constructor(store: AccountStore) {
    this.#store = store;
  }

  /** The organisation or project of a scope. */
  scope(scope: string): Promise<ScopeRecord | null> {
    let found = this.#scopes.get(scope);
    if (found === undefined) {
      found = this.#store.get(scope.includes("/") ? "projects" : "orgs", scope);
      this.#scopes.set(scope, found);
    }
    return found;
  }

  /** What somebody may do with a repository, or with a scope itself. Denied is the default. */
  async role(identity: Identity, path: string): Promise<Role> {
    const own = await this.#own(identity, path);
    return own === "none" && (await this.isPublic(path)) ? "read" : own;
  }

  /** The longest scope that is a project decides; what is in none is private. */
  async isPublic(path: string): Promise<boolean> {
    for (const scope of scopesOf(path)) {
      const record = scope.includes("/") ? await this.scope(scope) : null;
      if (record !== null) return record.visibility === "public";
    }
    return false;
  }

  async #own(identity: Identity, path: string): Promise<Role> {
    switch (identity.kind) {
      case "anonymous":
        return "none";
      case "operator":
        return "admin";
      case "user":
        return await this.#ofUser(identity.user, path);
      case "key": {
        const { key, user } = identity;
        const granted = key.grants === null ? null : (grantedRole(key.grants, path) ?? "none");
        if (user !== null) {
          const role = await this.#ofUser(user, path);
          return granted === null ? role : lesser(granted, role);
        }
        return isWithin(path, key.owner.name) ? (granted ?? "none") : "none";
      }
    }
  }

  async #ofUser(user: UserRecord, path: string): Promise<Role> {
    if (user.disabled) return "none";
    if (user.admin || isWithin(path, user.name)) return "admin";
    for (const scope of scopesOf(path)) {
      const members = (await this.scope(scope))?.members ?? {};
      const member = Object.hasOwn(members, user.name) ? members[user.name] : undefined;
      if (member !== undefined && member.id === user.id) return member.role;
    }
    return "none";
  }
}
