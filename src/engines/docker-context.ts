import { createHash } from "node:crypto";
import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { type EngineEndpoint, type EngineTls, parseEndpoint } from "./endpoint.js";
import { isJsonObject } from "./json-lines.js";

type Environment = Readonly<Record<string, string | undefined>>;

/** The folder of Docker's configuration: `DOCKER_CONFIG`, else `~/.docker`. */
export function dockerConfigFolder(env: Environment, homeDirectory: string): string {
  return env.DOCKER_CONFIG || join(homeDirectory, ".docker");
}

/**
 * The endpoint of `DOCKER_HOST`, with TLS as `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH` say. Where a
 * folder of certificates is named, the engine's certificate is always verified: unlike Docker's own client, Lading
 * has no mode that encrypts to whoever answers.
 * @throws LadingError `config-invalid`
 */
export async function dockerHost(host: string, env: Environment, homeDirectory: string): Promise<EngineEndpoint> {
  const wanted = Boolean(env.DOCKER_TLS_VERIFY || env.DOCKER_TLS || env.DOCKER_CERT_PATH);
  const folder = env.DOCKER_CERT_PATH || dockerConfigFolder(env, homeDirectory);
  return parseEndpoint(host, { origin: "DOCKER_HOST", tls: wanted ? await tlsFiles(folder, true) : null });
}

/**
 * The name of the docker context in use: `DOCKER_CONTEXT`, else `currentContext` of `config.json`; null for the
 * default one.
 * @throws LadingError `config-invalid` where config.json can't be read
 */
export async function currentContext(
  env: Environment,
  homeDirectory: string,
): Promise<{ readonly name: string; readonly origin: string } | null> {
  const fromEnvironment = env.DOCKER_CONTEXT;
  if (fromEnvironment !== undefined && fromEnvironment !== "") {
    return fromEnvironment === "default" ? null : { name: fromEnvironment, origin: "DOCKER_CONTEXT" };
  }
  const path = join(dockerConfigFolder(env, homeDirectory), "config.json");
  const document = await readJson(path);
  const name = isJsonObject(document) ? document.currentContext : undefined;
  if (typeof name !== "string" || name === "" || name === "default") return null;
  return { name, origin: path };
}

/**
 * Where a docker context leads.
 * @see https://github.com/docker/cli/blob/v28.2.2/cli/context/store/store.go
 * @throws LadingError `config-invalid` where there is no such context
 */
export async function contextEndpoint(name: string, env: Environment, homeDirectory: string): Promise<EngineEndpoint> {
  const folder = join(dockerConfigFolder(env, homeDirectory), "contexts");
  // A hash, so the name never becomes part of a path.
  const id = createHash("sha256").update(name).digest("hex");
  const shown = `the docker context ${JSON.stringify(name)}`;
  const document = await readJson(join(folder, "meta", id, "meta.json"));
  const endpoints = isJsonObject(document) && isJsonObject(document.Endpoints) ? document.Endpoints : null;
  const docker = endpoints !== null && isJsonObject(endpoints.docker) ? endpoints.docker : null;
  if (docker === null || typeof docker.Host !== "string") {
    throw new LadingError("config-invalid", `${shown} does not exist or names no docker endpoint`, {
      hint: 'see "docker context ls"; choose another one with DOCKER_CONTEXT, or --engine store',
    });
  }
  const tls = await tlsFiles(join(folder, "tls", id, "docker"), docker.SkipTLSVerify !== true);
  return parseEndpoint(docker.Host, {
    origin: shown,
    tls: tls.ca === null && tls.cert === null && docker.SkipTLSVerify !== true ? null : tls,
  });
}

async function tlsFiles(folder: string, verify: boolean): Promise<EngineTls> {
  const existing = async (name: string): Promise<string | null> => {
    const path = join(folder, name);
    return await access(path).then(
      () => path,
      () => null,
    );
  };
  const [ca, cert, key] = await Promise.all([existing("ca.pem"), existing("cert.pem"), existing("key.pem")]);
  return { ca, cert, key, verify };
}

/** Null where there is no file. The content is never part of an error: such files hold secrets. */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new LadingError("config-invalid", `${path} can't be read (${code})`, { cause });
  }
  if (text.length > limits.configFile) throw new LadingError("config-invalid", `${path} is too long`);
  try {
    return JSON.parse(text);
  } catch {
    throw new LadingError("config-invalid", `${path} is no JSON`, { hint: "repair it or remove it" });
  }
}
