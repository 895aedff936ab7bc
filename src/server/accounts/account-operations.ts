import { LadingError } from "../../errors.js";
import { isPathComponent, isRepositoryPath } from "../../image/reference.js";
import type { AccountRecords } from "./account-records.js";
import type { ApiKey } from "./accounts.js";
import type { Authentication } from "./authenticate.js";
import type { Policy } from "./policy.js";
import { holds } from "./role.js";

export type Known = Extract<Authentication, { ok: true }>;
export type Fields = Readonly<Record<string, unknown>>;

/** One request to manage accounts, with what decides about it. */
export interface Call {
  /** Of what is managed; empty for a whole list. */
  readonly name: string;
  readonly fields: Fields;
  readonly known: Known;
  readonly policy: Policy;
  readonly records: AccountRecords;
}

export interface Operation {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Whether the path names one thing. */
  readonly named: boolean;
  /** Fields that a body may have: any other one is refused, never passed over (CVE-2019-16097). */
  readonly fields: readonly string[];
  /** Bytes of the body. */
  readonly body: number;
  /** Answers, or throws what {@link refused} and {@link hidden} make. */
  run(call: Call): Promise<unknown>;
}

const small = 64 * 1024;

const get = (named: boolean, run: Operation["run"]): Operation => ({ method: "GET", named, fields: [], body: 0, run });
const post = (fields: readonly string[], run: Operation["run"], body = small): Operation => ({
  ...{ method: "POST", named: false, fields, body, run },
});
const patch = (fields: readonly string[], run: Operation["run"]): Operation => ({
  ...{ method: "PATCH", named: true, fields, body: small, run },
});
const remove = (run: Operation["run"]): Operation => ({ method: "DELETE", named: true, fields: [], body: 0, run });

function refused(): LadingError {
  return new LadingError("denied", "this account may not do this");
}

/** The same for what is not there and for what somebody may not know of. */
function hidden(name: string): LadingError {
  return new LadingError("not-found", `there is no ${JSON.stringify(name)} here`);
}

/** Whether somebody is an admin of the whole registry. A key is, where it is one's without bounds. */
function isAdmin({ identity }: Known): boolean {
  if (identity.kind === "operator") return true;
  const user = identity.kind === "user" ? identity.user : identity.kind === "key" ? identity.user : null;
  return user?.admin === true && !(identity.kind === "key" && identity.key.grants !== null);
}

function adminOnly(call: Call): void {
  if (!isAdmin(call.known)) throw refused();
}

/** The user who has shown their password: a key must not outlive itself by making another. */
function ownName({ identity, by }: Known): string | null {
  return identity.kind === "user" && by === "password" ? identity.user.name : null;
}

async function isManaged({ known, policy }: Call, scope: string): Promise<boolean> {
  return isRepositoryPath(scope) && (await policy.role(known.identity, scope)) === "admin";
}

/** What can't be a name is never looked for. */
async function isVisible({ known, policy }: Call, scope: string): Promise<boolean> {
  return isRepositoryPath(scope) && holds(await policy.role(known.identity, scope), "read");
}

async function visibleOnly(call: Call): Promise<void> {
  if (!(await isVisible(call, call.name))) throw hidden(call.name);
}

async function managedOnly(call: Call): Promise<void> {
  if (await isManaged(call, call.name)) return;
  throw (await isVisible(call, call.name)) ? refused() : hidden(call.name);
}

/** Who may only read a project is not told whose it is besides. */
async function withoutMembers<Scope extends { readonly name: string; readonly members: unknown }>(
  call: Call,
  scope: Scope,
): Promise<Scope> {
  return (await isManaged(call, scope.name)) ? scope : { ...scope, members: [] };
}

async function visible<Scope extends { readonly name: string; readonly members: unknown }>(
  call: Call,
  scopes: readonly Scope[],
): Promise<readonly Scope[]> {
  const found: Scope[] = [];
  for (const scope of scopes) if (await isVisible(call, scope.name)) found.push(await withoutMembers(call, scope));
  return found;
}

async function mayHold(call: Call, owner: string): Promise<boolean> {
  if (isAdmin(call.known) || ownName(call.known) === owner) return true;
  return (await call.policy.scope(owner)) !== null && (await isManaged(call, owner));
}

async function heldKey(call: Call): Promise<ApiKey> {
  const key = await call.records.keys.show(call.name);
  if (!(await mayHold(call, key.owner))) throw hidden(call.name);
  return key;
}

/** The fields of a body, whose names are checked; what they hold is checked where it is used. */
const given = <Shape>(call: Call): Shape => call.fields as Shape;

/**
 * Every way to look at accounts or to change them, with who may: the only place that says so. Each asks the policy that
 * decides about repositories too.
 */
export const accountOperations: Readonly<Record<string, readonly Operation[]>> = {
  users: [
    get(false, async (call) => {
      const users = await call.records.users.list();
      const own = call.known.identity.kind === "user" ? call.known.identity.user.name : null;
      return isAdmin(call.known) ? users : users.filter(({ name }) => name === own);
    }),
    post(["name", "password", "admin"], async (call) => {
      adminOnly(call);
      return await call.records.users.add(given(call));
    }),
    get(true, async (call) => {
      if (!isAdmin(call.known) && ownName(call.known) !== call.name) throw hidden(call.name);
      return await call.records.users.show(call.name);
    }),
    patch(["password", "admin", "disabled"], async (call) => {
      const { admin, disabled } = call.fields;
      if (!isAdmin(call.known)) {
        if (ownName(call.known) !== call.name) throw hidden(call.name);
        if (admin !== undefined || disabled !== undefined) throw refused();
      }
      return await call.records.users.set(call.name, given(call));
    }),
    remove(async (call) => {
      adminOnly(call);
      return await call.records.users.remove(call.name);
    }),
  ],
  htpasswd: [
    post(
      ["text"],
      async (call) => {
        adminOnly(call);
        return await call.records.users.import(given<{ text: string }>(call).text);
      },
      1024 * 1024,
    ),
  ],
  orgs: [
    get(false, async (call) => await visible(call, await call.records.orgs.list())),
    post(["name"], async (call) => {
      adminOnly(call);
      return await call.records.orgs.add(given(call));
    }),
    get(true, async (call) => {
      await visibleOnly(call);
      return await withoutMembers(call, await call.records.orgs.show(call.name));
    }),
    patch(["members", "removeMembers"], async (call) => {
      await managedOnly(call);
      return await call.records.orgs.set(call.name, given(call));
    }),
    remove(async (call) => {
      adminOnly(call);
      return await call.records.orgs.remove(call.name);
    }),
  ],
  projects: [
    get(false, async (call) => await visible(call, await call.records.projects.list())),
    post(["name", "visibility"], async (call) => {
      const { name } = call.fields;
      if (!isRepositoryPath(name) || !(await isManaged(call, name))) throw refused();
      return await call.records.projects.add(given(call));
    }),
    get(true, async (call) => {
      await visibleOnly(call);
      return await withoutMembers(call, await call.records.projects.show(call.name));
    }),
    patch(["visibility", "members", "removeMembers"], async (call) => {
      await managedOnly(call);
      return await call.records.projects.set(call.name, given(call));
    }),
    remove(async (call) => {
      await managedOnly(call);
      return await call.records.projects.remove(call.name);
    }),
  ],
  keys: [
    get(false, async (call) => {
      const found: ApiKey[] = [];
      for (const key of await call.records.keys.list()) if (await mayHold(call, key.owner)) found.push(key);
      return found;
    }),
    post(["owner", "label", "grants", "expires"], async (call) => {
      const { owner } = call.fields;
      if (!isPathComponent(owner) || !(await mayHold(call, owner))) throw refused();
      return await call.records.keys.add(given(call));
    }),
    get(true, heldKey),
    remove(async (call) => {
      const { id } = await heldKey(call);
      return await call.records.keys.remove(id);
    }),
  ],
};
