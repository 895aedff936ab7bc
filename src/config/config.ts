import type { WireHandler } from "../oci/wire.js";

/** An in-process registry as a value: what `createRegistry` of this package gives, or any fetch-like function. */
export interface RegistryValue {
  readonly fetch: (request: Request) => Promise<Response>;
  /** The same with plain objects; used where it is there, since it costs no global `Request`. */
  readonly handle?: WireHandler;
}

export interface ClusterConfig {
  /** `https://host[:port]` or `http://host[:port]`; no path, query or user. */
  readonly registryUrl: string;
  /** The embedded registry's folder: only a cluster with it is ever served in process. */
  readonly data?: string | null;
  /** Other hosts that may be sent this registry's credentials (its token service). */
  readonly authHosts?: readonly string[] | null;
  /** A registry that lives in this process. */
  readonly registry?: RegistryValue | null;
}

export interface Concurrency {
  /** Images of one call (`copy --all-tags`) that move at the same time. @default 2 */
  readonly transfers: number;
  /** Blobs of all transfers of a client that move at the same time. @default 4 */
  readonly blobs: number;
  /** Connections to one host. @default 8 */
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
}

export type { NameContext } from "../image/parser.js";
