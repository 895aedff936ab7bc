import { LadingError } from "../errors.js";
import { isAuthority } from "../image/reference.js";
import type { Credential } from "../oci/credential.js";
import {
  type AuthFile,
  dockerConfigPath,
  helperFor,
  parseAuthFile,
  parseJsonObject,
  serverKey,
  splitKey,
} from "./auth-file.js";
import { eraseWithHelper, type HelperContext, storeWithHelper } from "./credential-helper.js";
import { thisSystem } from "./folders.js";
import { readSmallFile, updateFile } from "./update-file.js";

export interface EraseOptions extends HelperContext {
  /** `host[:port]`. */
  readonly registry: string;
}

export interface StoreOptions extends EraseOptions {
  readonly credential: Credential;
}

/**
 * Keeps a credential where Docker looks for it: with the helper that its `config.json` names for the registry, else in
 * that file.
 * @returns The file's path, or the helper program's name.
 * @throws LadingError `config-invalid`, `unsupported`, `io`, `timeout`; then nothing has changed
 */
export async function storeCredential({ registry, credential, ...context }: StoreOptions): Promise<string> {
  const { path, file } = await dockerFile(registry, context);
  const key = serverKey(registry);
  const helper = helperFor(file, registry);
  if (helper !== null) await storeWithHelper(helper, key, credential, context);
  // Docker's own mark for what a helper keeps: an entry with nothing in it.
  const entry = helper === null ? entryOf(credential) : {};
  await changeAuths(path, (auths) => {
    for (const old of Object.keys(auths)) if (isFor(old, key)) delete auths[old];
    auths[key] = entry;
    return true;
  });
  return helper === null ? path : `docker-credential-${helper}`;
}

/**
 * Forgets the credential of a registry there.
 * @returns Whether there was one in the file (a helper does not say).
 * @throws LadingError `config-invalid`, `io`, `timeout`
 */
export async function eraseCredential({ registry, ...context }: EraseOptions): Promise<boolean> {
  const { path, file } = await dockerFile(registry, context);
  const key = serverKey(registry);
  const helper = helperFor(file, registry);
  if (helper !== null) await eraseWithHelper(helper, key, context);
  const isThere = file.auths.some((entry) => isFor(entry.key, key));
  if (!isThere) return false;
  await changeAuths(path, (auths) => {
    const mine = Object.keys(auths).filter((old) => isFor(old, key));
    for (const old of mine) delete auths[old];
    return mine.length > 0;
  });
  return true;
}

async function dockerFile(
  registry: string,
  { env, system = thisSystem }: HelperContext,
): Promise<{ readonly path: string; readonly file: AuthFile }> {
  if (!isAuthority(registry)) {
    throw new LadingError("bad-reference", "a registry is named host[:port], without scheme and path");
  }
  const path = dockerConfigPath(env, system);
  const found = await readSmallFile(path);
  return { path, file: parseAuthFile(found?.text ?? "", path, found?.mode ?? 0o600) };
}

/** Changes `auths` and keeps everything else in the file, also what another program wrote meanwhile. */
async function changeAuths(path: string, change: (auths: Record<string, unknown>) => boolean): Promise<void> {
  await updateFile(path, (current) => {
    const root = parseJsonObject(current ?? "", path);
    const auths = { ...((root.auths ?? {}) as Record<string, unknown>) };
    return change(auths) ? `${JSON.stringify({ ...root, auths }, null, "\t")}\n` : null;
  });
}

/** Whether an old key is for the whole of the same host; those for single repositories are somebody's own. */
function isFor(old: string, key: string): boolean {
  const { host, repository } = splitKey(old);
  return repository === null && host === splitKey(key).host;
}

function entryOf(credential: Credential): Record<string, string> {
  if ("registryToken" in credential) return { registrytoken: credential.registryToken };
  if ("identityToken" in credential) return { identitytoken: credential.identityToken };
  return { auth: Buffer.from(`${credential.username}:${credential.password}`).toString("base64") };
}
