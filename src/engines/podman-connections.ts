import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "smol-toml";
import { LadingError } from "../errors.js";
import { readJson } from "./docker-context.js";
import { isJsonObject, type JsonObject } from "./json-lines.js";

/** A destination that `podman system connection` or `podman machine` has written down. */
export interface PodmanConnection {
  readonly name: string;
  readonly uri: string;
  readonly identityFile: string | null;
  /** The file that says so. */
  readonly origin: string;
}

/**
 * The connection that Podman would use: the one that `CONTAINER_CONNECTION` names, else the default of
 * `podman-connections.json`, else of `containers.conf`. Null where there is none.
 * @throws LadingError `config-invalid`
 */
export async function podmanConnection(
  env: Readonly<Record<string, string | undefined>>,
  homeDirectory: string,
): Promise<PodmanConnection | null> {
  const folder = join(env.XDG_CONFIG_HOME || join(homeDirectory, ".config"), "containers");
  const wanted = env.CONTAINER_CONNECTION || null;

  const jsonPath = env.PODMAN_CONNECTIONS_CONF || join(folder, "podman-connections.json");
  const document = await readJson(jsonPath);
  const connection = isJsonObject(document) && isJsonObject(document.Connection) ? document.Connection : {};
  const found = pick(connection.Connections, wanted ?? connection.Default, jsonPath, "URI", "Identity");
  if (found !== null) return found;

  const tomlPath = env.CONTAINERS_CONF || join(folder, "containers.conf");
  const engine = await engineTable(tomlPath);
  const older = pick(engine.service_destinations, wanted ?? engine.active_service, tomlPath, "uri", "identity");
  if (older !== null) return older;

  if (wanted === null) return null;
  throw new LadingError("config-invalid", `there is no podman connection ${JSON.stringify(wanted)}`, {
    hint: 'see "podman system connection list"',
  });
}

function pick(
  all: unknown,
  name: unknown,
  origin: string,
  uriKey: string,
  identityKey: string,
): PodmanConnection | null {
  if (typeof name !== "string" || !isJsonObject(all) || !Object.hasOwn(all, name)) return null;
  const entry = all[name];
  if (!isJsonObject(entry)) return null;
  const [uri, identity] = [entry[uriKey], entry[identityKey]];
  if (typeof uri !== "string") return null;
  return { name, uri, identityFile: typeof identity === "string" && identity !== "" ? identity : null, origin };
}

async function engineTable(path: string): Promise<JsonObject> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return {};
  }
  try {
    const document = parse(text);
    return isJsonObject(document.engine) ? document.engine : {};
  } catch (cause) {
    throw new LadingError("config-invalid", `${path} is no TOML`, { cause });
  }
}
