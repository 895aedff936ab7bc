import { join } from "node:path";
import type { ClusterConfig, Config } from "../config/config.js";
import { LadingError, type Side } from "../errors.js";
import { authorityOf, isLoopbackHost } from "../image/reference.js";
import { type RemoteImage, wireName } from "../image/remote-image.js";
import type { CredentialRequest, FetchCredentials } from "../oci/credential.js";
import type { WireHandler } from "../oci/wire.js";
import type { Bandwidth } from "../registry/bandwidth.js";
import type { BlobSharing } from "../registry/blob-sharing.js";
import type { Network } from "../registry/checked-lookup.js";
import type { RegistryClient } from "../registry/client.js";
import type { Clock } from "../registry/clock.js";
import type { Repository } from "../registry/repository.js";
import type { UploadJournal } from "../registry/upload-journal.js";
import type { Registry } from "../server/index.js";
import type { EngineRoute } from "./engine-route.js";
import { folderOwner } from "./folder-owner.js";
import { readAuthorities } from "./read-authorities.js";

export interface ConnectionOptions {
  readonly config: Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fetchCredentials: FetchCredentials | null;
  readonly onWarning: (text: string) => void;
  readonly onDebug: ((text: string) => void) | null;
  readonly network?: Network | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
}

interface Endpoint {
  readonly url: string;
  readonly handler: WireHandler | null;
  /** Of a registry that Lading made itself; one that is given as a value may be wrapped, and is asked by its handler alone. */
  readonly sharing: BlobSharing | null;
  readonly authHosts: readonly string[];
  /** The folder that is served there, where it is this user's own. */
  readonly data?: string;
}

/** One RegistryClient per registry of a client: they share connections, tokens and back-off. */
export class RegistryConnections {
  readonly #options: ConnectionOptions;
  readonly #clients = new Map<string, Promise<RegistryClient>>();
  readonly #repositories = new Map<string, WeakMap<FetchCredentials, Repository>>();
  readonly #embedded = new Map<string, Promise<Registry>>();
  /** Hosts where both http and https are allowed, and whether they speak the former. */
  readonly #plain = new Map<string, Promise<boolean>>();
  #credentials: Promise<FetchCredentials> | null = null;
  /** By folder: one function each, since what is shared between calls hangs on it. */
  readonly #owners = new Map<string, FetchCredentials>();
  #uploads: Promise<UploadJournal> | null = null;
  #bandwidth: Bandwidth | null = null;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  async registry(target: { readonly cluster: string } | { readonly host: string }): Promise<RegistryClient> {
    return await this.#client(
      "cluster" in target ? await this.#cluster(target.cluster) : await this.#external(target.host),
    );
  }

  async repository(image: RemoteImage, side: Side, own: FetchCredentials | null): Promise<Repository> {
    const { repository } = wireName(image);
    const endpoint = await this.#endpoint(image);
    const client = await this.#client(endpoint);
    const fetchCredentials = own ?? (await this.#credentialsFor(endpoint));
    // One object per repository and credential: what is shared between calls is never shared between tenants.
    const key = `${endpoint.url} ${endpoint.handler === null} ${repository} ${side}`;
    let byCredential = this.#repositories.get(key);
    if (byCredential === undefined) {
      byCredential = new WeakMap();
      this.#repositories.set(key, byCredential);
    }
    let found = byCredential.get(fetchCredentials);
    if (found === undefined) {
      found = client.repository(repository, { fetchCredentials, side });
      byCredential.set(fetchCredentials, found);
    }
    return found;
  }

  /**
   * The repository as an engine reaches it by itself: null where it takes what only Lading was told (authorities, marks of insecure, a
   * proxy), or where Lading holds the line back. A registry of this process listens on loopback until the route is closed, and lets in who has the password of the
   * route alone.
   */
  async engineRoute(
    image: RemoteImage,
    own: FetchCredentials | null,
    request: Pick<CredentialRequest, "actions" | "side" | "signal">,
  ): Promise<EngineRoute | null> {
    if (this.#options.config.limitRate !== null) return null;
    const endpoint = await this.#endpoint(image);
    const { repository } = wireName(image);
    if (endpoint.handler !== null) {
      const { openRoute } = await import("./engine-route.js");
      return await openRoute(endpoint.handler, repository);
    }
    const url = new URL(endpoint.url);
    const loopback = isLoopbackHost(url.host);
    const { config, env } = this.#options;
    if (endpoint.authHosts.length > 0 || this.#isInsecure(url.host)) return null;
    if (url.protocol === "http:" ? !loopback : config.ca !== null || (!loopback && usesProxy(env))) return null;
    const fetchCredentials = own ?? (await this.#credentialsFor(endpoint));
    const { authority } = await this.#client(endpoint);
    const credential = await fetchCredentials({ registry: authority, repository, ...request });
    return { target: { host: authority, path: repository, loopback, credential }, close: async () => {} };
  }

  async close(): Promise<void> {
    for (const client of this.#clients.values()) await (await client.catch(() => null))?.close();
    for (const registry of this.#embedded.values()) await (await registry.catch(() => null))?.close();
  }

  async #endpoint(image: RemoteImage): Promise<Endpoint> {
    const { registry } = wireName(image);
    if (image.clusterName === null) return await this.#external(registry);
    const cluster = this.#clusterFor(image.clusterName, registry);
    if (cluster !== null) return await this.#cluster(cluster);
    return { url: `${image.scheme}://${registry}`, handler: null, sharing: null, authHosts: [] };
  }

  /** The configured cluster of this name, where it is the one that the image means. */
  #clusterFor(name: string, authority: string): string | null {
    const cluster = this.#options.config.clusters[name];
    return cluster !== undefined && authorityOf(cluster.registryUrl) === authority ? name : null;
  }

  async #cluster(name: string): Promise<Endpoint> {
    const { clusters } = this.#options.config;
    const cluster = Object.hasOwn(clusters, name) ? clusters[name] : undefined;
    if (cluster === undefined) {
      throw new LadingError("bad-reference", `there is no cluster ${JSON.stringify(name)}`, {
        hint: `known: ${Object.keys(clusters).join(", ") || "none"}`,
      });
    }
    const url = cluster.registryUrl.replace(/\/+$/, "");
    const authHosts = cluster.authHosts ?? [];
    if (cluster.registry) return { url, handler: await valueHandler(cluster.registry), sharing: null, authHosts };
    if (cluster.data) return await this.#served(cluster, cluster.data, url);
    return { url, handler: null, sharing: null, authHosts };
  }

  /** A cluster with a folder: over HTTP where `lading serve` holds it, else in this process. */
  async #served(cluster: ClusterConfig, data: string, url: string): Promise<Endpoint> {
    const authHosts = cluster.authHosts ?? [];
    const { holderOf } = await import("../server/hold.js");
    const holder = await holderOf(data);
    if (holder !== null && (await this.#answers(holder, data))) {
      this.#options.onDebug?.(`registry: ${data} is served at ${holder.url}`);
      return { url: originOf(holder.url), handler: null, sharing: null, authHosts, data };
    }
    let embedded = this.#embedded.get(data);
    if (embedded === undefined) {
      embedded = import("../server/index.js").then(({ createRegistry }) =>
        createRegistry({
          storage: { directory: data },
          onWaiting: ({ pid }) =>
            this.#options.onWarning(
              `waiting for ${pid === null ? "another process" : `process ${pid}`}, which writes to ${data}`,
            ),
        }),
      );
      this.#embedded.set(data, embedded);
    }
    const registry = await embedded;
    return { url, handler: registry.handle, sharing: registry, authHosts };
  }

  /** The record of a server may be older than a reboot, or name a port that somebody else has now. */
  async #answers(holder: { readonly url: string; readonly instanceId: string }, data: string): Promise<boolean> {
    try {
      const client = await this.#client({
        url: originOf(holder.url),
        handler: null,
        sharing: null,
        authHosts: [],
        data,
      });
      return (await client.ping()).instanceId === holder.instanceId;
    } catch {
      return false;
    }
  }

  async #external(host: string): Promise<Endpoint> {
    const plain = await this.#speaksPlain(host);
    return { url: `${plain ? "http" : "https"}://${host}`, handler: null, sharing: null, authHosts: [] };
  }

  /** What is marked insecure has no TLS, or a certificate that nobody vouches for: only the host knows which. */
  async #speaksPlain(host: string): Promise<boolean> {
    const { ca } = this.#options.config;
    const loopback = isLoopbackHost(host);
    if (!loopback && !this.#isInsecure(host)) return false;
    if (!this.#isInsecure(host) && ca === null) return true;
    let plain = this.#plain.get(host);
    if (plain === undefined) {
      plain = import("../registry/speaks-tls.js").then(
        async ({ speaksTls }) => !(await speaksTls(host, { timeout: loopback ? 500 : 3000 })),
      );
      this.#plain.set(host, plain);
    }
    return await plain;
  }

  /** Marked by host and port: what is said of one service says nothing of the others on its machine. */
  #isInsecure(host: string): boolean {
    const { insecure } = this.#options.config;
    const usual = new URL(`https://${host}`).port === "" ? [`${host}:443`, `${host}:80`] : [];
    return [host, ...usual].some((name) => insecure.includes(name));
  }

  #client(endpoint: Endpoint): Promise<RegistryClient> {
    const { url, handler } = endpoint;
    const key = `${handler === null ? "wire" : "value"} ${url}`;
    let client = this.#clients.get(key);
    if (client === undefined) {
      client = this.#makeClient(endpoint);
      this.#clients.set(key, client);
      const made = client;
      made.catch(() => this.#clients.get(key) === made && this.#clients.delete(key));
    }
    return client;
  }

  async #makeClient(endpoint: Endpoint): Promise<RegistryClient> {
    const { url, handler, sharing, authHosts } = endpoint;
    const { config, env, onWarning, onDebug, network, clock, random } = this.#options;
    const { RegistryClient } = await import("../registry/client.js");
    if (config.limitRate !== null && this.#bandwidth === null) {
      const { Bandwidth } = await import("../registry/bandwidth.js");
      const { systemClock } = await import("../registry/clock.js");
      this.#bandwidth ??= new Bandwidth(config.limitRate, systemClock);
    }
    const authority = authorityOf(url);
    return new RegistryClient({
      url,
      ...(handler === null ? {} : { handler }),
      ...(sharing === null ? {} : { sharing }),
      fetchCredentials: await this.#credentialsFor(endpoint),
      insecure: this.#isInsecure(authority),
      ...(config.ca === null ? {} : { ca: await readAuthorities(config.ca) }),
      authHosts,
      insecureHosts: config.insecure,
      perHost: config.concurrency.perHost,
      uploads: () => this.#journal(),
      bandwidth: this.#bandwidth ?? undefined,
      env,
      onWarning,
      ...(onDebug === null ? {} : { onDebug }),
      network,
      clock,
      random,
    });
  }

  /** Beside the store: whoever may read what is sent may go on sending it. */
  #journal(): Promise<UploadJournal> {
    this.#uploads ??= import("../registry/upload-journal.js").then(
      ({ UploadJournal }) => new UploadJournal({ directory: join(this.#options.config.store, ".lading", "uploads") }),
    );
    return this.#uploads;
  }

  async #credentialsFor({ data }: Endpoint): Promise<FetchCredentials> {
    const usual = await this.#defaultCredentials();
    if (data === undefined || this.#options.fetchCredentials !== null) return usual;
    const found = this.#owners.get(data) ?? folderOwner(data, usual);
    this.#owners.set(data, found);
    return found;
  }

  #defaultCredentials(): Promise<FetchCredentials> {
    const { fetchCredentials, env, onWarning } = this.#options;
    this.#credentials ??= fetchCredentials
      ? Promise.resolve(fetchCredentials)
      : import("../config/credentials.js").then(({ dockerCredentials }) => dockerCredentials({ env, onWarning }));
    return this.#credentials;
  }
}

/** The engine has a proxy of its own, or none: whether it gets there is its affair. */
function usesProxy(env: Readonly<Record<string, string | undefined>>): boolean {
  return ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].some((name) => Boolean(env[name]));
}

function originOf(url: string): string {
  return new URL(url).origin;
}

async function valueHandler(value: NonNullable<ClusterConfig["registry"]>): Promise<WireHandler> {
  if (value.handle !== undefined) return value.handle.bind(value);
  const { fetchHandler } = await import("../registry/fetch-handler.js");
  return fetchHandler(value.fetch.bind(value));
}
