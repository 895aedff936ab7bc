import { dirname, resolve } from "node:path";
import { type ErrorCode, isLadingError, LadingError } from "../errors.js";
import { authorityOf, isAuthority, isClusterName, isPathComponent } from "../image/reference.js";
import { formatPlatform, parsePlatform } from "../oci/platform.js";
import type { ClusterConfig, Concurrency, RegistryValue } from "./config.js";
import { bytesOf, millisecondsOf } from "./quantity.js";

/** What one source (flags, environment, a file, the `config` option) says, checked; undefined where it says nothing. */
export interface Settings {
  readonly cluster?: string | undefined;
  readonly owner?: string | undefined;
  readonly org?: string | undefined;
  readonly engine?: (typeof engines)[number] | undefined;
  readonly store?: string | undefined;
  readonly ca?: string | undefined;
  readonly insecure?: readonly string[] | undefined;
  readonly platform?: string | undefined;
  readonly progress?: (typeof progressModes)[number] | undefined;
  /** Milliseconds. */
  readonly timeout?: number | undefined;
  /** Bytes. */
  readonly cacheLimit?: number | undefined;
  /** Bytes per second; 0 for no limit. */
  readonly limitRate?: number | undefined;
  readonly concurrency?: Partial<Concurrency> | undefined;
  readonly registryUrl?: string | undefined;
  readonly clusters?: Readonly<Record<string, ClusterSettings>> | undefined;
}

/** A cluster as a source describes it: `local` may leave its URL out. */
export type ClusterSettings = Omit<ClusterConfig, "registryUrl"> & { readonly registryUrl?: string | undefined };

/** Where settings come from, for messages that a person can act on. */
export interface Source {
  /** How a key is called there: `LADING_OWNER`, `--owner`, `/etc/x.toml: owner`. */
  readonly name: (key: string) => string;
  readonly code: ErrorCode;
  /** The folder that relative paths start from; null for the working folder. */
  readonly folder: string | null;
  /** What `~/` stands for; null where the shell has seen to it. */
  readonly home: string | null;
}

const engines = ["auto", "docker", "podman", "store"] as const;
const progressModes = ["auto", "tty", "plain", "json", "none"] as const;
const concurrencyKeys = ["transfers", "blobs", "perHost", "exports"] as const;
const component = "lower case letters and digits, with . _ __ or - between them";

type Table = Readonly<Record<string, unknown>>;

/** Reads one source. @throws LadingError with the source's code; the value itself is never in the message */
export function readSettings(table: Table, source: Source): Settings {
  const read = <Value>(key: string, expected: string, take: (value: unknown) => Value | null): Value | undefined => {
    const value = Object.hasOwn(table, key) ? table[key] : undefined;
    if (value === undefined || value === null) return undefined;
    const taken = take(value);
    if (taken === null) throw invalid(source, key, expected);
    return taken;
  };
  const path = (value: unknown) => pathFrom(value, source);
  return {
    cluster: read("cluster", "the name of a cluster", (value) => (isClusterName(value) ? value : null)),
    owner: read("owner", component, (value) => (isPathComponent(value) ? value : null)),
    org: read("org", component, (value) => (isPathComponent(value) ? value : null)),
    engine: read("engine", `one of ${engines.join(", ")}`, (value) => engines.find((one) => one === value) ?? null),
    store: read("store", "the path of a folder", path),
    ca: read("ca", "the path of a PEM file", path),
    insecure: read("insecure", "a list of host[:port]", authorities),
    platform: read("platform", "os/architecture[/variant] or all", platformText),
    progress: read(
      "progress",
      `one of ${progressModes.join(", ")}`,
      (value) => progressModes.find((one) => one === value) ?? null,
    ),
    timeout: read("timeout", "a duration such as 90s or 10m", millisecondsOf),
    cacheLimit: read("cacheLimit", "a size such as 10G or 512Mi", bytesOf),
    limitRate: read("limitRate", "bytes per second such as 5M or 500k, or 0 for no limit", bytesOf),
    concurrency: read("concurrency", "a table", asTable) && readConcurrency(table.concurrency as Table, source),
    registryUrl: read("registryUrl", urlForm, registryUrlText),
    clusters: read("clusters", "a table of clusters", asTable) && readClusters(table.clusters as Table, source),
  };
}

const urlForm = "https://host[:port] or http://host[:port], without user and path";

function readConcurrency(table: Table, source: Source): Partial<Concurrency> {
  const given: Partial<Record<keyof Concurrency, number>> = {};
  for (const key of concurrencyKeys) {
    const value = table[key];
    if (value === undefined || value === null) continue;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1 || value > 1000) {
      throw invalid(source, `concurrency.${key}`, "a whole number from 1 to 1000");
    }
    given[key] = value;
  }
  return given;
}

function readClusters(table: Table, source: Source): Readonly<Record<string, ClusterSettings>> {
  return Object.fromEntries(
    Object.entries(table).map(([name, value]) => {
      if (!isClusterName(name)) throw invalid(source, "clusters", "names of letters, digits, and . _ - between them");
      const cluster = asTable(value);
      if (cluster === null) throw invalid(source, `clusters.${name}`, "a table with registryUrl");
      return [name, readCluster(name, cluster, source)];
    }),
  );
}

function readCluster(name: string, table: Table, source: Source): ClusterSettings {
  const read = <Value>(key: string, expected: string, take: (value: unknown) => Value | null): Value | null => {
    const value = table[key];
    if (value === undefined || value === null) return null;
    const taken = take(value);
    if (taken === null) throw invalid(source, `clusters.${name}.${key}`, expected);
    return taken;
  };
  const registryUrl = read("registryUrl", urlForm, registryUrlText);
  if (registryUrl === null && name !== "local") throw invalid(source, `clusters.${name}.registryUrl`, urlForm);
  const data = read("data", "the path of a folder", (value) => pathFrom(value, source));
  const authHosts = read("authHosts", "a list of host[:port]", authorities);
  const registry = read("registry", "a registry as createRegistry gives it", registryValue);
  return {
    ...(registryUrl === null ? {} : { registryUrl }),
    ...(data === null ? {} : { data }),
    ...(authHosts === null ? {} : { authHosts }),
    ...(registry === null ? {} : { registry }),
  };
}

function invalid(source: Source, key: string, expected: string): LadingError {
  return new LadingError(source.code, `${source.name(key)} is not valid`, { hint: `expected ${expected}` });
}

function asTable(value: unknown): Table | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Table) : null;
}

function pathFrom(value: unknown, { folder, home }: Source): string | null {
  if (typeof value !== "string" || value === "" || value.includes("\0")) return null;
  if (home !== null && value.startsWith("~/")) return resolve(home, value.slice(2));
  return folder === null ? resolve(value) : resolve(folder, value);
}

/** A list, or the text of one as a variable holds it. */
function authorities(value: unknown): readonly string[] | null {
  const list = typeof value === "string" ? value.split(/[\s,]+/).filter((entry) => entry !== "") : value;
  if (!Array.isArray(list) || !list.every(isAuthority)) return null;
  return Object.freeze(list.map((entry) => entry.toLowerCase()));
}

function registryUrlText(value: unknown): string | null {
  try {
    authorityOf(value);
  } catch {
    return null;
  }
  return String(value).replace(/\/$/, "");
}

function platformText(value: unknown): string | null {
  if (typeof value !== "string") return null;
  if (value === "all") return value;
  try {
    return formatPlatform(parsePlatform(value));
  } catch (error) {
    if (isLadingError(error)) return null;
    throw error;
  }
}

function registryValue(value: unknown): RegistryValue | null {
  const candidate = typeof value === "object" && value !== null ? (value as Partial<RegistryValue>) : null;
  return typeof candidate?.fetch === "function" || typeof candidate?.handle === "function"
    ? (candidate as RegistryValue)
    : null;
}

/** The source of a file: relative paths start from its folder, `~/` is the home folder. */
export function fileSource(path: string, home: string): Source {
  return { name: (key) => `${path}: ${key}`, code: "config-invalid", folder: dirname(path), home };
}
