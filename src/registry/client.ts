import { LadingError, type Side } from "../errors.js";
import type { FetchCredentials } from "../oci/credential.js";
import type { WireHandler } from "../oci/wire.js";
import type { Bandwidth } from "./bandwidth.js";
import type { BlobSharing } from "./blob-sharing.js";
import { readBody } from "./body.js";
import type { Call } from "./call.js";
import { listCatalog } from "./catalog.js";
import type { Network } from "./checked-lookup.js";
import { type Clock, systemClock } from "./clock.js";
import { Endpoint } from "./endpoint.js";
import type { Environment } from "./proxy.js";
import type { RateBudget } from "./rate-budget.js";
import { Repository } from "./repository.js";
import type { ListOptions } from "./tags.js";
import { createTransport, type Transport } from "./transport.js";
import type { UploadJournal } from "./upload-journal.js";
import type { GateRules } from "./url-gate.js";

export interface RegistryClientOptions {
  /** `https://host[:port]` or `http://host[:port]`. */
  readonly url: string;
  /** A registry of this process, instead of the network. */
  readonly handler?: WireHandler | undefined;
  /** What that registry shares as files. @default nothing */
  readonly sharing?: BlobSharing | undefined;
  /** Who asks, where a repository says nothing else. */
  readonly fetchCredentials: FetchCredentials;
  /** The registry may be spoken to by plain http, or with a certificate that nobody vouches for. */
  readonly insecure: boolean;
  /** Other `host[:port]` that the user marked insecure: where this registry may redirect to by plain http. */
  readonly insecureHosts?: readonly string[] | undefined;
  /** Further certificate authorities, as PEM text; the usual ones stay. */
  readonly ca?: string | undefined;
  /** Other `host[:port]` that may be sent this registry's credentials: its token service. */
  readonly authHosts?: readonly string[] | undefined;
  /** Connections to one host. */
  readonly perHost: number;
  /** Where `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are looked up. */
  readonly env: Environment;
  readonly onWarning?: ((text: string) => void) | undefined;
  /** One line per request, without secrets. */
  readonly onDebug?: ((text: string) => void) | undefined;
  /** Where uploads that break off are kept for the next run. @default nowhere */
  readonly uploads?: (() => Promise<UploadJournal>) | undefined;
  /** Holds what goes over the network to a rate: one for all clients that share it. @default no limit */
  readonly bandwidth?: Bandwidth | undefined;
  /** How long a connection may be silent, in ms. @default 60 000 */
  readonly idleTimeout?: number | undefined;
  /** How names become addresses. @default the system's way */
  readonly network?: Network | undefined;
  /** @default the system's */
  readonly clock?: Clock | undefined;
  /** Numbers in [0, 1) for the jitter of waits. @default Math.random */
  readonly random?: (() => number) | undefined;
}

export interface RepositoryOptions {
  /** Who asks, instead of the client's own; nothing is shared with others. */
  readonly fetchCredentials?: FetchCredentials | undefined;
  /** Which end of a transfer this is, for its errors. A destination asks for the right to write at once. */
  readonly side?: Side | null | undefined;
}

export interface PingOptions extends RepositoryOptions {
  readonly signal?: AbortSignal | undefined;
}

/** What a registry said of itself. */
export interface Pong {
  /** The registry's clock; null where it does not say. */
  readonly date: Date | null;
  /** Which embedded registry answers; null for all others. */
  readonly instanceId: string | null;
  /** Whether it lives in this process. */
  readonly inProcess: boolean;
}

/** The names of Docker Hub, which all mean one registry. */
const hubNames: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);
const hubHost = "registry-1.docker.io";
/** The image that Docker keeps for this question. */
const hubProbe = "ratelimitpreview/test";
const defaultIdleTimeout = 60_000;

/** A client of one registry. Its repositories share connections, tokens (by credential) and back-off. */
export class RegistryClient {
  /** `host[:port]` as credentials name it; `docker.io` for Docker Hub. */
  readonly authority: string;
  readonly #options: RegistryClientOptions;
  readonly #registry: URL;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #random: () => number;

  /** Connects nowhere. @throws LadingError `config-invalid` for a URL that is not one */
  constructor(options: RegistryClientOptions) {
    const registry = parseRegistryUrl(options.url);
    const isHub = hubNames.has(registry.host);
    this.authority = isHub ? "docker.io" : registry.host;
    if (isHub) registry.host = hubHost;
    this.#options = options;
    this.#registry = registry;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    const rules: GateRules = {
      registry,
      insecure: options.insecure,
      inProcess: options.handler !== undefined,
      authHosts: options.authHosts ?? [],
      insecureHosts: options.insecureHosts ?? [],
    };
    this.#transport = createTransport({
      authority: this.authority,
      rules,
      handler: options.handler,
      ca: options.ca,
      perHost: options.perHost,
      env: options.env,
      idleTimeout: options.idleTimeout ?? defaultIdleTimeout,
      network: options.network,
      bandwidth: options.bandwidth,
      clock: this.#clock,
      random: this.#random,
      onWarning: options.onWarning ?? (() => {}),
      onDebug: options.onDebug ?? null,
    });
  }

  /**
   * Asks whether the registry is there and knows us. One try: who pings wants to know how things are.
   * @throws LadingError `unreachable`, `tls`, `unauthorized`, `not-found` where it is no registry, …
   */
  async ping(options: PingOptions = {}): Promise<Pong> {
    const { headers } = await this.#endpoint(null, options).sendOnly({
      method: "GET",
      url: new URL("/v2/", this.#registry),
      actions: [],
      expect: [200],
      doing: "asking for /v2/",
      retry: false,
      signal: options.signal,
    });
    const date = new Date(headers.date ?? "");
    return {
      date: Number.isNaN(date.getTime()) ? null : date,
      instanceId: headers["lading-instance"] ?? null,
      inProcess: this.#options.handler !== undefined,
    };
  }

  /**
   * Sends a request of another API of this registry, once. No credentials are added, and none are asked for.
   * @param path Path and query.
   * @throws LadingError `unreachable`, `tls`, …
   */
  async request(
    method: Call["method"],
    path: string,
    given: { readonly headers?: Call["headers"]; readonly body?: Uint8Array; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly status: number; readonly headers: Call["headers"]; readonly body: Uint8Array }> {
    const { headers = {}, body, signal } = given;
    const url = new URL(path, this.#registry);
    const answer = await this.#transport.send({
      ...{ method, url, role: "registry", headers: { "accept-encoding": "identity", ...headers }, body, access: null },
      ...{ retry: false, signal },
    });
    const { status } = answer;
    return { status, headers: answer.headers, body: await readBody(answer, "listBody", "the answer") };
  }

  /**
   * Names of repositories, page by page.
   * @throws LadingError `unsupported` for a registry without a catalog
   */
  catalog(options: ListOptions & RepositoryOptions = {}): AsyncIterable<readonly string[]> {
    return listCatalog(this.#endpoint(null, options), options);
  }

  /** One repository; asks nothing. @throws LadingError `bad-reference` for a name that cannot be one */
  repository(name: string, options: RepositoryOptions = {}): Repository {
    return new Repository(this.#endpoint(name, options));
  }

  /** What the registry said last of how often it may still be asked; null where it said nothing. */
  get budget(): RateBudget | null {
    return this.#transport.budgets.of(this.#registry.host);
  }

  /**
   * The same where the registry has not spoken of it yet: Docker Hub tells with every manifest, and counts no HEAD.
   * @throws LadingError `unreachable`, …
   */
  async askBudget(options: PingOptions = {}): Promise<RateBudget | null> {
    if (this.budget === null && this.authority === "docker.io") {
      await this.repository(hubProbe, options).head("latest", options);
    }
    return this.budget;
  }

  /** Ends connections and requests at once; what is under way fails with `closed`. Can be called again. */
  close(): void {
    this.#transport.close();
  }

  #endpoint(repository: string | null, { fetchCredentials, side }: RepositoryOptions): Endpoint {
    return new Endpoint({
      authority: this.authority,
      registry: this.#registry,
      repository,
      side: side ?? null,
      fetchCredentials: fetchCredentials ?? this.#options.fetchCredentials,
      send: this.#transport.send,
      sharing: this.#options.sharing ?? null,
      clock: this.#clock,
      random: this.#random,
      pauses: this.#transport.pauses,
      identity: this.#transport.identity,
      // A registry of this process ends with it, and what it is given goes no further than to a disk.
      uploads: this.#options.handler === undefined ? (this.#options.uploads ?? null) : null,
      onWarning: this.#options.onWarning ?? (() => {}),
      budgets: this.#transport.budgets,
    });
  }
}

function parseRegistryUrl(text: string): URL {
  let url: URL | null = null;
  try {
    url = new URL(text);
  } catch {
    // Refused below.
  }
  const plain = url !== null && (url.protocol === "https:" || url.protocol === "http:");
  const isBare = url?.username === "" && url.password === "";
  if (url === null || !plain || !isBare || url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    throw new LadingError("config-invalid", `${JSON.stringify(text)} is not the URL of a registry`, {
      hint: "https://host[:port] or http://host[:port]",
    });
  }
  return url;
}
