import { abortError, LadingError } from "../errors.js";
import { canonicalAuthority, isAuthority } from "../image/reference.js";
import type { Credential, FetchCredentials } from "../oci/credential.js";
import { type AuthFile, entriesFor, entryCredential, helperFor, readAuthFiles, serverKey } from "./auth-file.js";
import { askHelper, helperPath } from "./credential-helper.js";
import { type Environment, type System, thisSystem } from "./folders.js";

export { type EraseOptions, eraseCredential, type StoreOptions, storeCredential } from "./credential-storage.js";

export interface DockerCredentialsOptions {
  readonly env: Environment;
  readonly onWarning?: ((text: string) => void) | null | undefined;
  /** @default this machine */
  readonly system?: System | undefined;
  /** Milliseconds that a helper may take. @default 30000 */
  readonly helperTimeout?: number | undefined;
  /** Milliseconds since some moment. @default Date.now */
  readonly now?: (() => number) | undefined;
}

/** How long a helper's answer is kept, in ms: some ask a person, so not for every request; but tokens that they make expire. */
const answerLifetime = 10 * 60_000;
/** How long files, and a helper's knowing nothing, are kept, in ms: somebody may log in meanwhile. */
const briefLifetime = 5_000;

/** A call that several may wait for: it is given up when the last of them has. */
interface HelperCall {
  readonly answer: Promise<Credential | null>;
  readonly controller: AbortController;
  until: number;
  waiting: number;
}

/**
 * Credentials as Docker and Podman keep them: `DOCKER_AUTH_CONFIG`, Docker's `config.json` with its helpers,
 * `REGISTRY_AUTH_FILE` or Podman's `auth.json`. A host matches exactly; the first that has a credential decides. A
 * helper that fails is an error, never a reason to ask somewhere else. A helper's answer is kept for ten minutes.
 */
export function dockerCredentials(options: DockerCredentialsOptions): FetchCredentials {
  const { env, system = thisSystem, helperTimeout, now = Date.now, onWarning } = options;
  const warned = new Set<string>();
  const calls = new Map<string, HelperCall>();
  let files: { readonly read: Promise<readonly AuthFile[]>; readonly until: number } | null = null;

  const authFiles = (): Promise<readonly AuthFile[]> => {
    if (files !== null && now() < files.until) return files.read;
    const fresh = { read: readAuthFiles(env, system), until: now() + briefLifetime };
    files = fresh;
    fresh.read.catch(() => {
      if (files === fresh) files = null;
    });
    return fresh.read;
  };

  const ask = async (helper: string, server: string, signal: AbortSignal | undefined): Promise<Credential | null> => {
    const key = `${helper} ${server}`;
    let call = calls.get(key);
    if (call === undefined || now() >= call.until || call.controller.signal.aborted) {
      const controller = new AbortController();
      const answer = askHelper(helper, server, { env, system, signal: controller.signal, timeout: helperTimeout });
      const fresh: HelperCall = { answer, controller, until: now() + answerLifetime, waiting: 0 };
      answer.then(
        (credential) => {
          if (credential === null) fresh.until = now() + briefLifetime;
        },
        () => {
          if (calls.get(key) === fresh) calls.delete(key);
        },
      );
      calls.set(key, fresh);
      call = fresh;
    }
    call.waiting += 1;
    try {
      return await unlessAborted(call.answer, signal);
    } finally {
      call.waiting -= 1;
      if (call.waiting === 0 && signal?.aborted) call.controller.abort(signal.reason);
    }
  };

  return async ({ registry, repository, signal }) => {
    checkRegistry(registry);
    for (const file of await authFiles()) {
      if (file.isExposed && !warned.has(file.origin)) {
        warned.add(file.origin);
        onWarning?.(`${file.origin} holds credentials and can be read by others: chmod 600 it`);
      }
      // An entry for a repository was written for it on purpose; what is for the whole host comes after.
      const entries = entriesFor(file, registry, repository);
      for (const entry of entries.filter((one) => one.repository !== null)) {
        const credential = entryCredential(entry, file.origin);
        if (credential !== null) return checkedCredential(credential, file.origin);
      }
      const helper = helperFor(file, registry);
      if (helper !== null) {
        const credential = await ask(helper, serverKey(registry), signal);
        if (credential !== null) return checkedCredential(credential, `docker-credential-${helper}`);
      }
      for (const entry of entries.filter((one) => one.repository === null)) {
        const credential = entryCredential(entry, file.origin);
        if (credential !== null) return checkedCredential(credential, file.origin);
      }
    }
    return null;
  };
}

/** A place that says something about a registry's credentials. Never a value. */
export interface CredentialSource {
  /** The file's path, or `DOCKER_AUTH_CONFIG`. */
  readonly origin: string;
  /** The helper program's name, or null where the file itself has the entry. */
  readonly helper: string | null;
  /** Whether the helper's program is on PATH; true where there is none. */
  readonly isInstalled: boolean;
  /** The key of the entry as it is written, or null for a helper. */
  readonly key: string | null;
}

/**
 * Where credentials for a registry would come from, in the order in which they are asked. Runs no helper.
 * @throws LadingError `config-invalid`
 */
export async function credentialSources(
  registry: string,
  env: Environment,
  system: System = thisSystem,
): Promise<readonly CredentialSource[]> {
  checkRegistry(registry);
  const sources: CredentialSource[] = [];
  for (const file of await readAuthFiles(env, system)) {
    const helper = helperFor(file, registry);
    if (helper !== null) {
      const isInstalled = (await helperPath(helper, env, system)) !== null;
      sources.push({ origin: file.origin, helper: `docker-credential-${helper}`, isInstalled, key: null });
    }
    for (const entry of file.auths) {
      const isMine = entry.host === canonicalAuthority(registry) && entryCredential(entry, file.origin) !== null;
      if (isMine) sources.push({ origin: file.origin, helper: null, isInstalled: true, key: entry.key });
    }
  }
  return sources;
}

/** It goes to a program's input and is compared with keys: nothing but a host gets that far. */
function checkRegistry(registry: string): void {
  if (isAuthority(registry)) return;
  throw new LadingError("bad-reference", "a registry is named host[:port], without scheme and path");
}

/** What would break out of a header is refused here, where it can be said who gave it. */
function checkedCredential(credential: Credential, origin: string): Credential {
  if (Object.values(credential).some((value: string) => /[\0-\x1f\x7f]/.test(value))) {
    throw new LadingError("config-invalid", `the credential from ${origin} has control characters in it`);
  }
  return credential;
}

async function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
  if (signal === undefined) return await work;
  if (signal.aborted) throw abortError(signal);
  let stop = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(abortError(signal));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
