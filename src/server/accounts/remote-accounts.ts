import { type ErrorCode, errorCodes, LadingError } from "../../errors.js";
import type {
  Accounts,
  AddedApiKey,
  AddedUser,
  ApiKey,
  ImportedUsers,
  Organisation,
  Project,
  User,
} from "./accounts.js";

/** Sends one request below `/auth/` of a registry, with what proves who asks, and reads its JSON. */
export type SendToAccounts = (request: {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** `/auth/users/alice` */
  readonly path: string;
  /** To be sent as JSON. */
  readonly body: object | null;
}) => Promise<{ readonly status: number; readonly value: unknown }>;

/** The accounts of a registry that is served, through its own API. */
export function remoteAccounts(send: SendToAccounts): Accounts {
  const call = async <Answer>(
    method: "GET" | "POST" | "PATCH" | "DELETE",
    group: string,
    name: string | null = null,
    body: object | null = null,
  ): Promise<Answer> => {
    const path = `/auth/${group}${name === null ? "" : `/${name.split("/").map(encodeURIComponent).join("/")}`}`;
    const { status, value } = await send({ method, path, body });
    if (status >= 200 && status < 300) return value as Answer;
    throw failure(status, value);
  };
  return {
    users: {
      add: (user) => call<AddedUser>("POST", "users", null, user),
      list: () => call<readonly User[]>("GET", "users"),
      show: (name) => call<User>("GET", "users", name),
      set: (name, changes) => call<User>("PATCH", "users", name, changes),
      remove: (name) => call<User>("DELETE", "users", name),
      import: (text) => call<ImportedUsers>("POST", "htpasswd", null, { text }),
    },
    orgs: {
      add: (org) => call<Organisation>("POST", "orgs", null, org),
      list: () => call<readonly Organisation[]>("GET", "orgs"),
      show: (name) => call<Organisation>("GET", "orgs", name),
      set: (name, changes) => call<Organisation>("PATCH", "orgs", name, changes),
      remove: (name) => call<Organisation>("DELETE", "orgs", name),
    },
    projects: {
      add: (project) => call<Project>("POST", "projects", null, project),
      list: () => call<readonly Project[]>("GET", "projects"),
      show: (name) => call<Project>("GET", "projects", name),
      set: (name, changes) => call<Project>("PATCH", "projects", name, changes),
      remove: (name) => call<Project>("DELETE", "projects", name),
    },
    keys: {
      add: (key) => call<AddedApiKey>("POST", "keys", null, key),
      list: () => call<readonly ApiKey[]>("GET", "keys"),
      show: (id) => call<ApiKey>("GET", "keys", id),
      remove: (id) => call<ApiKey>("DELETE", "keys", id),
    },
  };
}

function failure(status: number, value: unknown): LadingError {
  const { code, message, hint } = (value as { readonly error?: Readonly<Record<string, unknown>> } | null)?.error ?? {};
  if (!errorCodes.includes(code as ErrorCode)) {
    return new LadingError(status === 404 ? "unsupported" : "unreachable", `the registry answered ${status}`, {
      status,
      hint: "it may be no registry of Lading's, or one without accounts",
    });
  }
  return new LadingError(code as ErrorCode, String(message), { status, hint: typeof hint === "string" ? hint : null });
}
