import type { Client, OpenClientOptions } from "../client.js";
import type { Config } from "../config/config.js";
import type { GlobalFlags } from "./global-flags.js";
import type { Io } from "./io.js";
import type { Reporter } from "./progress/reporter.js";

export type OpenClient = (options: OpenClientOptions) => Promise<Client>;

/** What a verb works with. The client is opened by the first verb that asks for it. */
export class CommandContext {
  readonly io: Io;
  readonly flags: GlobalFlags;
  readonly reporter: Reporter;
  /** Fires on Ctrl-C, SIGTERM, and when `--timeout` is over. */
  readonly signal: AbortSignal;
  readonly #openClient: OpenClient;
  #client: Promise<Client> | null = null;

  /** @param limit Milliseconds that the command may take; null for no limit. */
  constructor(io: Io, flags: GlobalFlags, reporter: Reporter, limit: number | null, openClient: OpenClient) {
    this.io = io;
    this.flags = flags;
    this.reporter = reporter;
    this.#openClient = openClient;
    this.signal = limit === null ? io.interrupted : AbortSignal.any([io.interrupted, AbortSignal.timeout(limit)]);
  }

  /** The options that flags give; the environment and the file are read by `openClient`. */
  get clientOptions(): OpenClientOptions {
    const { engine, store, config, cluster, owner, org, platform, insecure, caFile, limitRate } = this.flags;
    return {
      env: this.io.env,
      engine,
      storePath: store,
      configPath: config,
      cluster,
      owner,
      org,
      platform,
      insecure,
      ca: caFile,
      rateLimit: limitRate,
      onWarning: (text) => this.reporter.warning(text),
      ...(this.flags.debug === true ? { onDebug: (text: string) => this.reporter.debug(text) } : {}),
    };
  }

  /** The configuration alone, for verbs that need neither engine nor registry. */
  async config(): Promise<Config> {
    const { loadConfig } = await import("../config/config.js");
    const { engine, storePath, configPath, cluster, owner, org, platform, insecure, ca, rateLimit } =
      this.clientOptions;
    const overrides = { cluster, owner, org, platform, insecure, ca, limitRate: rateLimit };
    return await loadConfig({ env: this.io.env, engine, storePath, configPath, overrides });
  }

  client(): Promise<Client> {
    this.#client ??= this.#openClient(this.clientOptions);
    return this.#client;
  }

  /** Names the engine where it is not Docker, so that nobody looks for the image in the wrong place. */
  async noteEngine(client: Client): Promise<void> {
    const { kind, reason } = await client.local.detect({ signal: this.signal });
    if (kind !== "docker") this.reporter.note(`engine: ${kind} (${reason})`);
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => null);
    await client?.close();
  }
}
