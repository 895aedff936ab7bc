import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { abortError, LadingError, throwIfAborted } from "../errors.js";
import type { Credential } from "../oci/credential.js";
import { limits } from "../oci/limits.js";
import { type Environment, type System, thisSystem, variable } from "./folders.js";

/** How long a helper may take, in ms: some of them ask a person. */
const helperTimeout = 30_000;
const helperName = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/;
/** What stands for a user where the secret is an OAuth2 refresh token. */
const tokenUser = "<token>";

export interface HelperContext {
  readonly env: Environment;
  readonly system?: System | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds. @default 30000 */
  readonly timeout?: number | undefined;
}

/**
 * What a `docker-credential-…` program knows of a server; null where it knows nothing.
 * @see https://github.com/docker/docker-credential-helpers/blob/v0.9.3/README.md#development
 * @throws LadingError `config-invalid` where it is missing, fails or answers nonsense; `timeout`, `limit-exceeded`,
 * `cancelled`. Nothing that it printed is in the error.
 */
export async function askHelper(name: string, server: string, context: HelperContext): Promise<Credential | null> {
  const answer = await runHelper(name, "get", server, context);
  return answer === null ? null : parseAnswer(name, answer);
}

/** @throws LadingError as {@link askHelper}; `unsupported` for a finished bearer token, which no helper keeps */
export async function storeWithHelper(
  name: string,
  server: string,
  credential: Credential,
  context: HelperContext,
): Promise<void> {
  if ("registryToken" in credential) {
    throw new LadingError("unsupported", `docker-credential-${name} cannot keep a finished bearer token`);
  }
  const [username, secret] =
    "identityToken" in credential ? [tokenUser, credential.identityToken] : [credential.username, credential.password];
  await runHelper(name, "store", JSON.stringify({ ServerURL: server, Username: username, Secret: secret }), context);
}

/** @throws LadingError as {@link askHelper} */
export async function eraseWithHelper(name: string, server: string, context: HelperContext): Promise<void> {
  await runHelper(name, "erase", server, context);
}

/**
 * The absolute path of a helper's program, or null. Empty and relative entries of PATH are skipped, so that a file in
 * the working folder is never run; on Windows only `.exe` counts, since a batch file would be run by a shell.
 * @throws LadingError `config-invalid` for a name that is none
 */
export async function helperPath(name: string, env: Environment, system: System = thisSystem): Promise<string | null> {
  if (!helperName.test(name) || name.includes("..")) {
    throw new LadingError("config-invalid", "a credential helper's name is not valid", {
      hint: "credsStore and credHelpers in Docker's config.json hold letters, digits, and . _ -",
    });
  }
  const isWindows = system.platform === "win32";
  const path = variable(env, "PATH") ?? (isWindows ? variable(env, "Path") : null) ?? "";
  for (const folder of path.split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const candidate = join(folder, `docker-credential-${name}${isWindows ? ".exe" : ""}`);
    try {
      await access(candidate, constants.X_OK);
      if ((await stat(candidate)).isFile()) return candidate;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** What the helper printed; null where it says that it has no such credentials. */
async function runHelper(
  name: string,
  verb: "get" | "store" | "erase",
  input: string,
  { env, system, signal, timeout = helperTimeout }: HelperContext,
): Promise<string | null> {
  throwIfAborted(signal);
  const path = await helperPath(name, env, system);
  if (path === null) {
    throw new LadingError("config-invalid", `the credential helper docker-credential-${name} is not on PATH`, {
      hint: "install it, or take it out of credsStore or credHelpers in Docker's config.json",
    });
  }
  const { execFile } = await import("node:child_process");
  const options = {
    env: { ...env },
    timeout,
    maxBuffer: limits.helperOutput,
    killSignal: "SIGKILL",
    windowsHide: true,
    encoding: "utf8",
    ...(signal === undefined ? {} : { signal }),
  } as const;
  return await new Promise((resolve, reject) => {
    const child = execFile(path, [verb], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (signal?.aborted) reject(abortError(signal));
      else if (/credentials not found/i.test(stdout) || /credentials not found/i.test(stderr)) resolve(null);
      else reject(helperFailure(name, verb, error));
    });
    // A helper that ends without reading its input is judged by its exit code.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

/** The cause is left out: its message quotes what the helper printed. */
function helperFailure(name: string, verb: string, error: Error & { code?: unknown; killed?: boolean }): LadingError {
  const program = `docker-credential-${name}`;
  if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") {
    return new LadingError("limit-exceeded", `${program} printed more than ${limits.helperOutput} bytes`, {
      limit: "helperOutput",
    });
  }
  if (error.killed === true) return new LadingError("timeout", `${program} did not end in time`);
  return new LadingError("config-invalid", `${program} ${verb} failed (${String(error.code ?? "no exit code")})`, {
    hint: `try it: echo REGISTRY | ${program} get; or take it out of Docker's config.json`,
  });
}

function parseAnswer(name: string, answer: string): Credential | null {
  let value: unknown;
  try {
    value = JSON.parse(answer);
  } catch {
    value = null;
  }
  const { Username: username, Secret: secret } = (typeof value === "object" && value !== null ? value : {}) as {
    Username?: unknown;
    Secret?: unknown;
  };
  if (typeof username !== "string" || typeof secret !== "string") {
    throw new LadingError("config-invalid", `docker-credential-${name} did not answer with Username and Secret`);
  }
  return credentialOf(username, secret);
}

/** User and secret as helpers and files keep them; null where there is nothing. */
export function credentialOf(username: string, secret: string): Credential | null {
  if (secret === "") return null;
  if (username === tokenUser) return { identityToken: secret };
  return { username, password: secret };
}
