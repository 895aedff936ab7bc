// Over 300 lines, since it is one place for the rules that hold for all records of accounts: what names may be, what may hang on
// what, and what goes with it.
import { randomBytes, randomUUID } from "node:crypto";
import { LadingError } from "../../errors.js";
import { isPathComponent, isRepositoryPath } from "../../image/reference.js";
import {
  type AccountStore,
  type KeyRecord,
  type Kinds,
  type Members,
  type ScopeRecord,
  type UserRecord,
  unknown,
} from "./account-store.js";
import type {
  Accounts,
  AddedApiKey,
  AddedUser,
  AddKey,
  AddProject,
  AddUser,
  ApiKey,
  ImportedUsers,
  Member,
  Organisation,
  Project,
  SetMembers,
  SetProject,
  SetUser,
  User,
} from "./accounts.js";
import { makeKey } from "./api-key.js";
import { isBcrypt } from "./bcrypt.js";
import { checkPassword, hashPassword } from "./password.js";
import { type Grant, isRole, isWithin } from "./role.js";

/** How long a password that was made up lets somebody in, in ms. */
const onceFor = 24 * 60 * 60_000;
const mostMembers = 10_000;
const mostGrants = 100;
const longestLabel = 200;
const firstPassword = "first-password";

function misused(message: string, hint: string | null = null): LadingError {
  return new LadingError("usage", message, { hint });
}

/** @throws LadingError `usage` */
export function checkName(name: unknown, what: string): string {
  if (isPathComponent(name) && name.length <= 100) return name;
  throw misused(`${JSON.stringify(name)} is not a name for ${what}`, "small letters, digits, and . _ - between them");
}

function checkProject(name: unknown): string {
  if (isRepositoryPath(name) && name.includes("/")) return name;
  throw misused(`${JSON.stringify(name)} is not a name for a project`, "OWNER/PROJECT, small letters and digits");
}

function checkGrants(grants: readonly Grant[] | null | undefined): readonly Grant[] | null {
  if (grants === null || grants === undefined) return null;
  if (!Array.isArray(grants) || grants.length > mostGrants) throw misused(`a key has at most ${mostGrants} scopes`);
  return grants.map((grant: Partial<Grant> | null) => {
    const { scope, role } = grant ?? {};
    if (!isRepositoryPath(scope) || !isRole(role)) throw misused("a scope of a key reads SCOPE:ROLE", "acme/web:write");
    return { scope, role };
  });
}

function userOf({ name, admin, disabled, password, passwordExpires, created }: UserRecord): User {
  return { name, admin, disabled, password: password !== null, passwordExpires, created };
}

function membersOf(members: Members): readonly Member[] {
  return Object.entries(members).map(([user, { role }]) => ({ user, role }));
}

function orgOf({ scope, members, created }: ScopeRecord): Organisation {
  return { name: scope, members: membersOf(members), created };
}

function projectOf({ scope, visibility, members, created }: ScopeRecord): Project {
  return { name: scope, visibility, members: membersOf(members), created };
}

function keyOf({ id, label, owner, grants, created, expires, lastUsed }: KeyRecord): ApiKey {
  return { id, label, owner: owner.name, robot: owner.kind === "org", grants, created, expires, lastUsed };
}

/** The accounts in a registry's storage, for whoever may change that anyway: nothing is asked here. */
export class AccountRecords implements Accounts {
  readonly #store: AccountStore;
  readonly #now: () => number;
  readonly #hash: typeof hashPassword;

  /** @param hash Makes hashes of passwords, where something bounds how many at once. */
  constructor(store: AccountStore, now: () => number, hash: typeof hashPassword = hashPassword) {
    this.#store = store;
    this.#now = now;
    this.#hash = hash;
  }

  readonly users: Accounts["users"] = {
    add: (user) => this.#addUser(user),
    list: async () => (await this.#store.list("users")).map(userOf),
    show: async (name) => userOf(await this.#find("users", name)),
    set: (name, changes) => this.#setUser(name, changes),
    remove: (name) => this.#removeUser(name),
    import: (htpasswd) => this.#importUsers(htpasswd),
  };

  readonly orgs: Accounts["orgs"] = {
    add: ({ name }) => this.#addOrg(name),
    list: async () => (await this.#store.list("orgs")).map(orgOf),
    show: async (name) => orgOf(await this.#find("orgs", name)),
    set: async (name, changes) => orgOf(await this.#setMembers("orgs", name, changes)),
    remove: (name) => this.#removeOrg(name),
  };

  readonly projects: Accounts["projects"] = {
    add: (project) => this.#addProject(project),
    list: async () => (await this.#store.list("projects")).map(projectOf),
    show: async (name) => projectOf(await this.#find("projects", name)),
    set: async (name, changes) => projectOf(await this.#setMembers("projects", name, changes)),
    remove: async (name) => {
      const project = projectOf(await this.#find("projects", name));
      await this.#store.remove("projects", name);
      return project;
    },
  };

  readonly keys: Accounts["keys"] = {
    add: (key) => this.#addKey(key),
    list: async () => (await this.#store.list("keys")).map(keyOf),
    show: async (id) => keyOf(await this.#find("keys", id)),
    remove: async (id) => {
      const key = keyOf(await this.#find("keys", id));
      await this.#store.remove("keys", id);
      return key;
    },
  };

  /** @throws LadingError `conflict` where there are accounts already */
  async initialise(name: string, { keepPassword = false }: { readonly keepPassword?: boolean }) {
    if ((await this.#store.list("users")).length > 0) {
      throw new LadingError("conflict", "there are accounts already", {
        hint: "`lading registry user list` shows them",
      });
    }
    const { newPassword } = await this.#addUser({ name, admin: true });
    const password = newPassword ?? "";
    if (keepPassword) await this.#store.put("registry", firstPassword, { user: name, password });
    return { user: name, password };
  }

  /** What is no longer true is not kept. */
  async #forgetFirstPassword(user: string): Promise<void> {
    const kept = (await this.#store.get("registry", firstPassword)) as { readonly user: string } | null;
    if (kept?.user === user) await this.#store.remove("registry", firstPassword);
  }

  get #time(): string {
    return new Date(this.#now()).toISOString();
  }

  async #find<Kind extends keyof Kinds>(kind: Kind, name: string): Promise<Kinds[Kind]> {
    // what can't be a name is not asked for: it would be a path
    const possible = typeof name === "string" && isRepositoryPath(name);
    const found = possible ? await this.#store.get(kind, name) : null;
    if (found === null) throw unknown(kind, String(name));
    return found;
  }

  /** Users and organisations own the repositories below their names: there is one of each. */
  async #checkFree(name: string): Promise<void> {
    for (const [kind, what] of [
      ["users", "user"],
      ["orgs", "organisation"],
    ] as const) {
      if ((await this.#store.get(kind, name)) === null) continue;
      throw new LadingError("conflict", `there is ${what === "user" ? "a" : "an"} ${what} ${name} already`);
    }
  }

  async #addUser({ name: text, password: given, admin }: AddUser): Promise<AddedUser> {
    const name = checkName(text, "a user");
    const password =
      given === null || given === undefined ? randomBytes(15).toString("base64url") : checkPassword(given);
    const made = password !== given;
    const hash = await this.#hash(password);
    return await this.#store.exclusive(async () => {
      await this.#checkFree(name);
      const user: UserRecord = {
        id: randomUUID(),
        name,
        admin: admin === true,
        disabled: false,
        password: hash,
        passwordExpires: made ? new Date(this.#now() + onceFor).toISOString() : null,
        generation: 1,
        created: this.#time,
      };
      await this.#store.put("users", name, user);
      return { ...userOf(user), newPassword: made ? password : null };
    });
  }

  async #setUser(name: string, { password, admin, disabled }: SetUser): Promise<User> {
    const hash = password === null || password === undefined ? null : await this.#hash(checkPassword(password));
    return await this.#store.exclusive(async () => {
      const user = await this.#find("users", name);
      const next: UserRecord = {
        ...user,
        admin: admin ?? user.admin,
        disabled: disabled ?? user.disabled,
        ...(hash === null ? {} : { password: hash, passwordExpires: null }),
        generation: user.generation + (hash !== null || disabled === true ? 1 : 0),
      };
      if (user.admin && !user.disabled && (!next.admin || next.disabled)) await this.#checkNotLast(name);
      await this.#store.put("users", name, next);
      if (hash !== null) await this.#forgetFirstPassword(name);
      return userOf(next);
    });
  }

  async #removeUser(name: string): Promise<User> {
    return await this.#store.exclusive(async () => {
      const user = await this.#find("users", name);
      if (user.admin) await this.#checkNotLast(name);
      // keys and memberships name the id, and are worth nothing without it: this only tidies up
      for (const kind of ["orgs", "projects"] as const) {
        for (const record of await this.#store.list(kind)) {
          if (!Object.hasOwn(record.members, name)) continue;
          const { [name]: _gone, ...members } = record.members;
          await this.#store.put(kind, record.scope, { ...record, members });
        }
      }
      for (const key of await this.#store.list("keys")) {
        if (key.owner.id === user.id) await this.#store.remove("keys", key.id);
      }
      await this.#store.remove("users", name);
      await this.#forgetFirstPassword(name);
      return userOf(user);
    });
  }

  async #checkNotLast(name: string): Promise<void> {
    const others = (await this.#store.list("users")).filter(
      (user) => user.admin && !user.disabled && user.name !== name,
    );
    if (others.length > 0) return;
    throw new LadingError("conflict", `${name} is the last admin of this registry`, {
      hint: "make somebody else an admin first",
    });
  }

  async #importUsers(htpasswd: string): Promise<ImportedUsers> {
    if (typeof htpasswd !== "string") throw misused("an htpasswd file is text");
    const imported: string[] = [];
    const skipped: { name: string; reason: string }[] = [];
    await this.#store.exclusive(async () => {
      for (const [index, line] of htpasswd.split(/\r?\n/).entries()) {
        if (line.trim() === "" || line.startsWith("#")) continue;
        const [name = "", hash = ""] = line.trim().split(":");
        // a line that is none may be anything, a password too: its number says enough
        if (!isPathComponent(name)) skipped.push({ name: `line ${index + 1}`, reason: "not a user name here" });
        else if (!isBcrypt(hash)) skipped.push({ name, reason: "not a bcrypt hash: make it with htpasswd -B" });
        else if ((await this.#store.get("users", name)) !== null) skipped.push({ name, reason: "is a user already" });
        else if ((await this.#store.get("orgs", name)) !== null) skipped.push({ name, reason: "is an organisation" });
        else {
          await this.#store.put("users", name, {
            ...{ id: randomUUID(), name, admin: false, disabled: false, password: hash, passwordExpires: null },
            ...{ generation: 1, created: this.#time },
          });
          imported.push(name);
        }
      }
    });
    return { imported, skipped };
  }

  async #addOrg(text: string): Promise<Organisation> {
    const name = checkName(text, "an organisation");
    return await this.#store.exclusive(async () => {
      await this.#checkFree(name);
      const org: ScopeRecord = this.#scope(name, "private");
      await this.#store.put("orgs", name, org);
      return orgOf(org);
    });
  }

  #scope(scope: string, visibility: ScopeRecord["visibility"]): ScopeRecord {
    return { id: randomUUID(), scope, visibility, members: {}, created: this.#time };
  }

  async #removeOrg(name: string): Promise<Organisation> {
    return await this.#store.exclusive(async () => {
      const org = await this.#find("orgs", name);
      const projects = (await this.#store.list("projects")).filter(({ scope }) => isWithin(scope, name));
      if (projects.length > 0) {
        throw new LadingError("conflict", `${name} has projects: ${projects.map(({ scope }) => scope).join(", ")}`, {
          hint: "remove them first",
        });
      }
      for (const key of await this.#store.list("keys")) {
        if (key.owner.id === org.id) await this.#store.remove("keys", key.id);
      }
      await this.#store.remove("orgs", name);
      return orgOf(org);
    });
  }

  async #addProject({ name: text, visibility }: AddProject): Promise<Project> {
    const name = checkProject(text);
    const [owner = ""] = name.split("/");
    return await this.#store.exclusive(async () => {
      const owned = (await this.#store.get("orgs", owner)) ?? (await this.#store.get("users", owner));
      if (owned === null) throw unknown("orgs", owner);
      if ((await this.#store.get("projects", name)) !== null) {
        throw new LadingError("conflict", `there is a project ${name} already`);
      }
      const project = this.#scope(name, checkVisibility(visibility ?? "private"));
      await this.#store.put("projects", name, project);
      return projectOf(project);
    });
  }

  async #setMembers(kind: "orgs" | "projects", name: string, changes: SetProject & SetMembers): Promise<ScopeRecord> {
    return await this.#store.exclusive(async () => {
      const record = await this.#find(kind, name);
      const members = new Map(Object.entries(record.members));
      for (const user of changes.removeMembers ?? []) {
        if (!members.delete(user)) throw unknown("users", user);
      }
      for (const { user, role } of changes.members ?? []) {
        if (!isRole(role)) throw misused(`${JSON.stringify(role)} is no role`, "none, read, write, delete or admin");
        members.set(user, { id: (await this.#find("users", user)).id, role });
      }
      if (members.size > mostMembers) throw misused(`at most ${mostMembers} members are possible`);
      const visibility = kind === "projects" ? checkVisibility(changes.visibility ?? record.visibility) : "private";
      const next: ScopeRecord = { ...record, visibility, members: Object.fromEntries(members) };
      await this.#store.put(kind, name, next);
      return next;
    });
  }

  async #addKey({ owner: text, label, grants: given, expires }: AddKey): Promise<AddedApiKey> {
    const name = checkName(text, "the owner of a key");
    const grants = checkGrants(given);
    if (typeof (label ?? "") !== "string" || (label ?? "").length > longestLabel) {
      throw misused(`a label has at most ${longestLabel} characters`);
    }
    const until = expires === null || expires === undefined ? null : Date.parse(expires);
    if (until !== null && !(until > this.#now())) throw misused("a key ends at a time that is to come, in RFC 3339");
    return await this.#store.exclusive(async () => {
      const user = await this.#store.get("users", name);
      const org = user === null ? await this.#store.get("orgs", name) : null;
      const owner = user ?? org;
      if (owner === null) throw unknown("users", name);
      if (org !== null && (grants === null || grants.some(({ scope }) => !isWithin(scope, name)))) {
        throw misused("a robot's key names scopes, all in its organisation", `--scope ${name}/PROJECT:write`);
      }
      const { id, key, hash } = makeKey();
      const record: KeyRecord = {
        ...{
          id,
          label: label ?? "",
          owner: { kind: user === null ? "org" : "user", name, id: owner.id },
          grants,
          hash,
        },
        ...{ created: this.#time, expires: until === null ? null : new Date(until).toISOString(), lastUsed: null },
      };
      await this.#store.put("keys", id, record);
      return { ...keyOf(record), key };
    });
  }
}

function checkVisibility(value: unknown): ScopeRecord["visibility"] {
  if (value === "public" || value === "private") return value;
  throw misused(`${JSON.stringify(value)} is no visibility`, "public or private");
}
