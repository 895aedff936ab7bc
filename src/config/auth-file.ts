import { join } from "node:path";
import { LadingError } from "../errors.js";
import { canonicalAuthority, dockerHub } from "../image/reference.js";
import type { Credential } from "../oci/credential.js";
import { credentialOf } from "./credential-helper.js";
import { configHome, type Environment, homeDirectory, type System, thisSystem, variable } from "./folders.js";
import { readSmallFile } from "./update-file.js";

/** Docker Hub under the key that Docker keeps it by. */
export const hubKey = "https://index.docker.io/v1/";
/** What Docker's `config.json` and Podman's `auth.json` say about credentials. */
export interface AuthFile {
  /** Where it is, for messages: a path, or the name of a variable. */
  readonly origin: string;
  readonly auths: readonly AuthEntry[];
  /** Canonical host -> helper; an empty name means that the host's credentials are in the file. */
  readonly credHelpers: ReadonlyMap<string, string>;
  readonly credsStore: string | null;
  /** Whether others than its owner can read it, and it holds a secret. */
  readonly isExposed: boolean;
}

export interface AuthEntry {
  /** As it is written in the file. */
  readonly key: string;
  readonly host: string;
  /** The repositories that it is for: this one and those below it; null for all of the host. */
  readonly repository: string | null;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The server's name as Docker gives it to helpers and writes it. */
export function serverKey(registry: string): string {
  const host = canonicalAuthority(registry);
  return host === dockerHub ? hubKey : host;
}

/**
 * What a key of `auths` is for: exactly one host, and below it all or one path. `https://`, `/v1/` and `/v2/` belong to
 * older ways of writing a host.
 */
export function splitKey(key: string): { readonly host: string; readonly repository: string | null } {
  const bare = key.replace(/^https?:\/\//i, "");
  const slash = bare.indexOf("/");
  if (slash === -1) return { host: canonicalAuthority(bare), repository: null };
  const path = bare.slice(slash + 1).replace(/\/+$/, "");
  const isWhole = path === "" || path === "v1" || path === "v2";
  return { host: canonicalAuthority(bare.slice(0, slash)), repository: isWhole ? null : path };
}

/**
 * The entries for a repository, the most specific first. A path matches on its borders; without a repository, only
 * entries for the whole host count.
 */
export function entriesFor(file: AuthFile, registry: string, repository: string | null): readonly AuthEntry[] {
  const host = canonicalAuthority(registry);
  const length = (entry: AuthEntry) => entry.repository?.length ?? -1;
  return file.auths
    .filter((entry) => entry.host === host && covers(entry.repository, repository))
    .sort((one, other) => length(other) - length(one));
}

function covers(pattern: string | null, repository: string | null): boolean {
  if (pattern === null) return true;
  return repository !== null && (repository === pattern || repository.startsWith(`${pattern}/`));
}

/**
 * The program that keeps the credentials of a host, or null. One named for the host comes before the one for all, and
 * an empty name switches the latter off.
 */
export function helperFor(file: AuthFile, registry: string): string | null {
  const own = file.credHelpers.get(canonicalAuthority(registry));
  return (own ?? file.credsStore) || null;
}

/**
 * The credential in an entry; null where it is only a mark that a helper has it.
 * @throws LadingError `config-invalid`
 */
export function entryCredential({ key, fields }: AuthEntry, origin: string): Credential | null {
  const { auth, identitytoken, registrytoken, username, password } = fields;
  if (isText(registrytoken)) return { registryToken: registrytoken };
  if (isText(identitytoken)) return { identityToken: identitytoken };
  if (!isText(auth)) return isText(username) && isText(password) ? credentialOf(username, password) : null;
  const isBase64 = /^[A-Za-z0-9+/]+={0,2}$/.test(auth.trim());
  const decoded = Buffer.from(auth, "base64").toString("utf8").replace(/\0+$/, "");
  const colon = decoded.indexOf(":");
  if (!isBase64 || colon < 1) {
    throw new LadingError("config-invalid", `the entry ${JSON.stringify(key)} in ${origin} has no valid auth`, {
      hint: "log in again: lading login",
    });
  }
  return credentialOf(decoded.slice(0, colon), decoded.slice(colon + 1));
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

/** Where Docker keeps its configuration. */
export function dockerConfigPath(env: Environment, system: System = thisSystem): string {
  return join(variable(env, "DOCKER_CONFIG") ?? join(homeDirectory(env, system), ".docker"), "config.json");
}

/**
 * The files that are there, in the order in which they are asked: `DOCKER_AUTH_CONFIG` itself, Docker's file, then
 * `REGISTRY_AUTH_FILE` or, without it, Podman's two.
 * @throws LadingError `config-invalid`
 */
export async function readAuthFiles(env: Environment, system: System = thisSystem): Promise<readonly AuthFile[]> {
  const inline = variable(env, "DOCKER_AUTH_CONFIG");
  const files: AuthFile[] = inline === null ? [] : [parseAuthFile(inline, "DOCKER_AUTH_CONFIG", 0o600)];
  for (const path of [dockerConfigPath(env, system), ...podmanPaths(env, system)]) {
    const file = await readSmallFile(path);
    if (file !== null) files.push(parseAuthFile(file.text, path, system.platform === "win32" ? 0o600 : file.mode));
  }
  return files;
}

/** @see https://github.com/containers/image/blob/v5.36.1/docs/containers-auth.json.5.md */
function podmanPaths(env: Environment, system: System): readonly string[] {
  const named = variable(env, "REGISTRY_AUTH_FILE");
  if (named !== null) return [named];
  const runtime = variable(env, "XDG_RUNTIME_DIR");
  const inHome = join(configHome(env, system), "containers", "auth.json");
  return runtime === null ? [inHome] : [join(runtime, "containers", "auth.json"), inHome];
}

/** @throws LadingError `config-invalid` with nothing of the content */
export function parseAuthFile(text: string, origin: string, mode: number): AuthFile {
  const root = parseJsonObject(text, origin);
  const auths = Object.entries(tableAt(root, "auths", origin)).map(([key, value]) => {
    if (!isTable(value)) throw malformed(origin, "auths is not what it should be");
    return { key, ...splitKey(key), fields: value };
  });
  const helpers = Object.entries(tableAt(root, "credHelpers", origin)).map(([key, name]) => {
    if (typeof name !== "string") throw malformed(origin, "credHelpers is not what it should be");
    return [splitKey(key), name] as const;
  });
  const { credsStore } = root;
  if (credsStore !== undefined && credsStore !== null && typeof credsStore !== "string") {
    throw malformed(origin, "credsStore is not what it should be");
  }
  const hasSecret = auths.some(({ fields }) =>
    ["auth", "identitytoken", "registrytoken", "password"].some((key) => isText(fields[key])),
  );
  return {
    origin,
    auths,
    credHelpers: new Map(
      helpers.filter(([{ repository }]) => repository === null).map(([{ host }, name]) => [host, name]),
    ),
    credsStore: isText(credsStore) ? credsStore : null,
    isExposed: hasSecret && (mode & 0o077) !== 0,
  };
}

/**
 * The object that a JSON text is; empty text is an empty one, as Docker has it.
 * @throws LadingError `config-invalid` with the place of the fault and nothing of the content
 */
export function parseJsonObject(text: string, origin: string): Record<string, unknown> {
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const offset = /at position (\d+)/.exec(error instanceof Error ? error.message : "")?.[1];
    throw malformed(origin, offset === undefined ? "it is no JSON" : `it is no JSON at character ${offset}`);
  }
  if (!isTable(value)) throw malformed(origin, "it is no object");
  return value;
}

function tableAt(root: Readonly<Record<string, unknown>>, key: string, origin: string): Record<string, unknown> {
  const value = root[key];
  if (value === undefined || value === null) return {};
  if (!isTable(value)) throw malformed(origin, `${key} is no object`);
  return value;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function malformed(origin: string, fault: string): LadingError {
  return new LadingError("config-invalid", `${origin} is malformed: ${fault}`, {
    hint: "it is the JSON that docker login or podman login writes",
  });
}
