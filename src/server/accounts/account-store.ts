import { LadingError } from "../../errors.js";
import { encodeRecord, readRecord, type Storage } from "../storage/storage.js";
import type { Grant, Role } from "./role.js";

/** A person. The id is never used again, so that nobody inherits the rights of an earlier one of the same name. */
export interface UserRecord {
  readonly id: string;
  readonly name: string;
  /** May do everything in this registry. */
  readonly admin: boolean;
  readonly disabled: boolean;
  /** Of scrypt, or of bcrypt where it was imported. Null: only API keys let this user in. */
  readonly password: string | null;
  /** RFC 3339; a password that was made up for somebody ends then, unless it is changed before. */
  readonly passwordExpires: string | null;
  /** Counts what ends tokens: a new password, being disabled. */
  readonly generation: number;
  readonly created: string;
}

export type Members = Readonly<Record<string, { readonly id: string; readonly role: Role }>>;

/** An organisation (one component) or a project (more of them). */
export interface ScopeRecord {
  readonly id: string;
  readonly scope: string;
  readonly visibility: "public" | "private";
  readonly members: Members;
  readonly created: string;
}

/** An API key: of a user, whose rights it can't exceed, or of an organisation, for which it is a robot. */
export interface KeyRecord {
  readonly id: string;
  readonly label: string;
  readonly owner: { readonly kind: "user" | "org"; readonly name: string; readonly id: string };
  /** Null: whatever the owner may (a user's key only). */
  readonly grants: readonly Grant[] | null;
  /** SHA-256 of the key, hex. */
  readonly hash: string;
  readonly created: string;
  /** RFC 3339, or null for one that never ends. */
  readonly expires: string | null;
  /** RFC 3339, at most an hour old. */
  readonly lastUsed: string | null;
}

export interface Kinds {
  readonly users: UserRecord;
  readonly orgs: ScopeRecord;
  readonly projects: ScopeRecord;
  readonly keys: KeyRecord;
  /** What the registry knows of itself. */
  readonly registry: object;
}

/** The records of accounts, under `auth/` in the registry's storage. */
export class AccountStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async get<Kind extends keyof Kinds>(kind: Kind, name: string): Promise<Kinds[Kind] | null> {
    await this.#storage.open({ write: false });
    return await readRecord<Kinds[Kind]>(this.#storage, `auth/${kind}`, name);
  }

  async list<Kind extends keyof Kinds>(kind: Kind): Promise<readonly Kinds[Kind][]> {
    await this.#storage.open({ write: false });
    const names = await this.#storage.list(`auth/${kind}`, { after: null, limit: Number.POSITIVE_INFINITY });
    const found = await Promise.all(names.map((name) => this.get(kind, name)));
    return found.filter((record) => record !== null);
  }

  async put<Kind extends keyof Kinds>(kind: Kind, name: string, record: Kinds[Kind]): Promise<void> {
    await this.#storage.open({ write: true });
    await this.#storage.put(`auth/${kind}`, name, encodeRecord(record));
  }

  /** @throws LadingError `not-found` */
  async remove(kind: keyof Kinds, name: string): Promise<void> {
    await this.#storage.open({ write: true });
    if (!(await this.#storage.delete(`auth/${kind}`, name))) throw unknown(kind, name);
  }

  /** One change at a time, whatever process it comes from. */
  async exclusive<T>(task: () => Promise<T>): Promise<T> {
    await this.#storage.open({ write: true });
    return await this.#storage.exclusive("auth", null, task);
  }
}

const words = {
  users: "user",
  orgs: "organisation",
  projects: "project",
  keys: "API key",
  registry: "record",
} as const;

export function unknown(kind: keyof Kinds, name: string): LadingError {
  return new LadingError("not-found", `there is no ${words[kind]} ${JSON.stringify(name)}`, {
    hint: "`list` shows what there is",
  });
}
