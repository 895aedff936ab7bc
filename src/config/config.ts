import { LadingError } from "../errors.js";
import type { NameContext } from "../image/parser.js";
import { isPathComponent } from "../image/reference.js";
import type { WireHandler } from "../oci/wire.js";
import { configPath, readConfigFile } from "./file.js";
import { defaultFolders, type Environment, homeDirectory, type System, thisSystem, variable } from "./folders.js";
import { type ClusterSettings, fileSource, readSettings, type Settings } from "./settings.js";

/** An in-process registry as a value: what `createRegistry` of this package gives, or any fetch-like function. */
export interface RegistryValue {
  readonly fetch: (request: Request) => Promise<Response>;
  /** The same with plain objects; used where it is there, since it costs no global `Request`. */
  readonly handle?: WireHandler;
}

/** A cluster: a registry under a name of the user's own. */
export interface ClusterConfig {
  /** `https://host[:port]` or `http://host[:port]`; no path, query or user. */
  readonly registryUrl: string;
  /** The embedded registry's folder: only a cluster with it is ever served in process. */
  readonly data?: string | null | undefined;
  /** Other hosts that may be sent this registry's credentials (its token service). */
  readonly authHosts?: readonly string[] | null | undefined;
  /** A registry that lives in this process. */
  readonly registry?: RegistryValue | null | undefined;
}

/** How much a client does at the same time. */
export interface Concurrency {
  /** Images that move at the same time on a client; further ones wait for their turn. @default 4 */
  readonly transfers: number;
  /** Blobs of all transfers of a client that move at the same time. @default 4 */
  readonly blobs: number;
  /** Connections to one host; content that is sent has as many of its own. @default 8 */
  readonly perHost: number;
  /** Exports out of an engine that run at the same time. @default 1 */
  readonly exports: number;
}

/** The snapshot of configuration file, environment and options that a client works with. Frozen. */
export interface Config {
  readonly clusters: Readonly<Record<string, ClusterConfig>>;
  /** The current cluster. */
  readonly cluster: string;
  /** The current owner; null where none is configured for a cluster other than the default `local`. */
  readonly owner: string | null;
  readonly org: string | null;
  /** `host[:port]` of registries that may be spoken to without TLS, or with a certificate that nobody vouches for. */
  readonly insecure: readonly string[];
  /** Path of a PEM file with further certificate authorities. */
  readonly ca: string | null;
  readonly engine: "auto" | "docker" | "podman" | "store";
  /** The folder of Lading's own store. */
  readonly store: string;
  /** `os/architecture[/variant]`, `all`, or null for the default of each verb. */
  readonly platform: string | null;
  readonly concurrency: Concurrency;
  /** Bytes that the cache in the store may take; null for the default (10 GB or a tenth of the disk). */
  readonly cacheLimit: number | null;
  /** Bytes per second that all transfers of a client together send to registries and receive from them; null for no limit. */
  readonly limitRate: number | null;
  /** Milliseconds that a command may take; null for no limit. */
  readonly timeout: number | null;
  /** How the CLI shows progress. */
  readonly progress: "auto" | "tty" | "plain" | "json" | "none";
}

type Given<Fields> = { readonly [Key in keyof Fields]?: Fields[Key] | null | undefined };

/** The configuration as a program gives it: in place of file and `LADING_*`, wholly. Null counts as left out. */
export interface ConfigInput
  extends Given<
    Pick<Config, "cluster" | "owner" | "org" | "insecure" | "ca" | "engine" | "store" | "platform" | "progress">
  > {
  /** @default the cluster `local` with its folder of the embedded registry */
  readonly clusters?: Readonly<Record<string, ClusterConfig>> | null | undefined;
  readonly concurrency?: Given<Concurrency> | null | undefined;
  /** Bytes, or a size such as `10G`. */
  readonly cacheLimit?: number | string | null | undefined;
  /** Bytes per second, or a size such as `5M`; 0 for no limit. */
  readonly limitRate?: number | string | null | undefined;
  /** Seconds, or a duration such as `90s`. */
  readonly timeout?: number | string | null | undefined;
}

/** What flags say; over everything else. */
export type ConfigOverrides = Given<
  Pick<Config, "cluster" | "owner" | "org" | "insecure" | "ca" | "platform" | "progress"> & {
    readonly timeout: number | string;
    readonly limitRate: number | string;
    readonly registryUrl: string;
  }
>;

export interface LoadConfigOptions {
  readonly config?: ConfigInput | null | undefined;
  /** The file to read; then it must be there. @default `LADING_CONFIG`, else `$XDG_CONFIG_HOME/lading/config.toml` */
  readonly configPath?: string | null | undefined;
  readonly env: Environment;
  readonly engine?: Config["engine"] | null | undefined;
  readonly storePath?: string | null | undefined;
  readonly concurrency?: Given<Concurrency> | null | undefined;
  readonly overrides?: ConfigOverrides | null | undefined;
  /** @default this machine */
  readonly system?: System | undefined;
}

const defaultConcurrency: Concurrency = { transfers: 4, blobs: 4, perHost: 16, exports: 1 };
/** Where `lading serve` listens unless told otherwise. */
const localRegistryUrl = "http://localhost:5050";
/** The variables that are settings, by the key of the file that they stand for. */
const variables: Readonly<Record<string, string>> = {
  cluster: "LADING_CLUSTER",
  owner: "LADING_OWNER",
  org: "LADING_ORG",
  engine: "LADING_ENGINE",
  store: "LADING_STORE",
  ca: "LADING_CA_FILE",
  insecure: "LADING_INSECURE",
  platform: "LADING_PLATFORM",
  progress: "LADING_PROGRESS",
  timeout: "LADING_TIMEOUT",
  limitRate: "LADING_LIMIT_RATE",
  registryUrl: "LADING_REGISTRY_URL",
};
const flagNames: Readonly<Record<string, string>> = {
  ca: "--ca-file",
  limitRate: "--limit-rate",
  registryUrl: "the registry URL",
};

/**
 * What a client works with: options over environment over file, each setting taken whole from the highest that has it.
 * Reads the file and the environment, and nothing else.
 * @throws LadingError `config-invalid`; `usage` for what options say
 */
export async function loadConfig(options: LoadConfigOptions): Promise<Config> {
  const { env, system = thisSystem, config = null } = options;
  const flags = readSettings(
    { ...options.overrides, engine: options.engine, store: options.storePath, concurrency: options.concurrency },
    { name: (key) => flagNames[key] ?? `--${key}`, code: "usage", folder: null, home: null },
  );
  const [environment, base] =
    config === null ? [readEnvironment(env), await readFileSettings(options, system)] : [{}, readInput(config)];
  const pick = <Key extends keyof Settings>(key: Key): Settings[Key] => flags[key] ?? environment[key] ?? base[key];
  const folders = defaultFolders(env, system);
  const local: ClusterConfig = Object.freeze({ registryUrl: localRegistryUrl, data: folders.registry });
  const described = base.clusters ?? {};
  const isWhole = config !== null && Object.keys(described).length > 0;
  const cluster = pick("cluster") ?? (isWhole ? onlyCluster(described) : "local");
  const clusters = withUrl(
    isWhole ? completed(described, local) : { local, ...completed(described, local) },
    cluster,
    flags.registryUrl ?? environment.registryUrl,
  );
  if (!Object.hasOwn(clusters, cluster)) {
    throw new LadingError("config-invalid", `the current cluster ${cluster} is not configured`, {
      hint: `known are: ${Object.keys(clusters).join(", ")}; add [clusters.${cluster}] with registryUrl, or set LADING_REGISTRY_URL`,
    });
  }
  return Object.freeze({
    clusters: Object.freeze(clusters),
    cluster,
    owner: pick("owner") ?? (cluster === "local" ? userOwner(env, system) : null),
    org: pick("org") ?? null,
    insecure: pick("insecure") ?? Object.freeze([]),
    ca: pick("ca") ?? null,
    engine: pick("engine") ?? "auto",
    store: pick("store") ?? folders.store,
    platform: pick("platform") ?? null,
    concurrency: Object.freeze({ ...defaultConcurrency, ...base.concurrency, ...flags.concurrency }),
    cacheLimit: pick("cacheLimit") ?? null,
    limitRate: pick("limitRate") || null,
    timeout: pick("timeout") ?? null,
    progress: pick("progress") ?? "auto",
  });
}

/** The part of a configuration that names depend on. */
export function nameContext({ clusters, cluster, owner, org }: Config): NameContext {
  const urls = Object.entries(clusters).map(([name, { registryUrl }]) => [name, registryUrl] as const);
  return Object.freeze({ clusters: Object.freeze(Object.fromEntries(urls)), cluster, owner, org });
}

function readEnvironment(env: Environment): Settings {
  const table = Object.fromEntries(Object.entries(variables).map(([key, name]) => [key, variable(env, name)]));
  return readSettings(table, {
    name: (key) => variables[key] ?? key,
    code: "config-invalid",
    folder: null,
    home: null,
  });
}

function readInput(config: ConfigInput): Settings {
  const source = { name: (key: string) => `config.${key}`, code: "config-invalid", folder: null, home: null } as const;
  return readSettings({ ...config }, source);
}

async function readFileSettings({ configPath: named, env }: LoadConfigOptions, system: System): Promise<Settings> {
  const path = named ?? configPath(env, system);
  const table = await readConfigFile(path);
  if (table !== null) return readSettings(table, fileSource(path, homeDirectory(env, system)));
  // A file that was named on purpose is missed; a variable may stand for one that is yet to be written.
  if (named === null || named === undefined) return {};
  throw new LadingError("config-invalid", `there is no configuration file ${path}`, { hint: "check --config" });
}

/** @throws LadingError `config-invalid` where it is open which cluster is the current one */
function onlyCluster(clusters: Readonly<Record<string, ClusterSettings>>): string {
  const names = Object.keys(clusters);
  const [name = "local"] = names;
  if (names.length <= 1) return name;
  if (names.includes("local")) return "local";
  throw new LadingError("config-invalid", "config.cluster is missing", { hint: `it may be ${names.join(", ")}` });
}

/** What a cluster leaves out: only `local` may leave out its URL, and then it is the default one. */
function completed(
  clusters: Readonly<Record<string, ClusterSettings>>,
  local: ClusterConfig,
): Record<string, ClusterConfig> {
  const entries = Object.entries(clusters).map(([name, { registryUrl, ...rest }]) => {
    return [name, Object.freeze(registryUrl === undefined ? { ...local, ...rest } : { registryUrl, ...rest })] as const;
  });
  return Object.fromEntries(entries);
}

/** Another URL is another registry: neither the folder nor the token service of the one before belongs to it. */
function withUrl(
  clusters: Record<string, ClusterConfig>,
  name: string,
  registryUrl: string | undefined,
): Record<string, ClusterConfig> {
  const known = Object.hasOwn(clusters, name) ? clusters[name] : undefined;
  if (registryUrl === undefined || known?.registryUrl === registryUrl) return clusters;
  return { ...clusters, [name]: Object.freeze({ registryUrl }) };
}

/** The system user's name as an owner: lower case, what an owner cannot have becomes `-`. */
function userOwner(env: Environment, system: System): string {
  const names = [system.userName(), variable(env, "LOGNAME"), variable(env, "USER"), variable(env, "USERNAME")];
  for (const name of names) {
    const lower = name?.toLowerCase() ?? "";
    for (const allowed of [/[^a-z0-9._-]+/g, /[^a-z0-9]+/g]) {
      const owner = lower
        .replace(allowed, "-")
        .replace(/^[._-]+|[._-]+$/g, "")
        .slice(0, 64);
      if (isPathComponent(owner)) return owner;
    }
  }
  return "user";
}

export type { NameContext };
