import { type Config, type LoadConfigOptions, loadConfig } from "./config/config.js";
import { throwIfAborted } from "./errors.js";
import type { Parser } from "./image/parser.js";
import { Images } from "./images.js";
import { LocalImages } from "./local-images.js";
import type { FetchCredentials } from "./oci/credential.js";
import { checkCallOptions, misused } from "./operations/call-options.js";
import { ClientContext, type ContextOptions } from "./operations/context.js";
import type { DoctorOptions, DoctorResult } from "./operations/doctor.js";
import type { LoginOptions, LoginResult, LogoutResult } from "./operations/login.js";

/** All optional; null counts as absent. The names of settings are those of the configuration file, and win over it. */
export interface OpenClientOptions {
  /** Replaces file and `LADING_*` wholly. Without `clusters` in it: the default `local`. */
  readonly config?: LoadConfigOptions["config"];
  /** The configuration file. Default: `LADING_CONFIG`, else `$XDG_CONFIG_HOME/lading/config.toml`. */
  readonly configPath?: string | null | undefined;
  /** @default auto */
  readonly engine?: Config["engine"] | null | undefined;
  /** The folder of Lading's own store. Default: `$XDG_DATA_HOME/lading/store`. */
  readonly storePath?: string | null | undefined;
  readonly concurrency?: LoadConfigOptions["concurrency"];
  readonly cluster?: string | null | undefined;
  readonly owner?: string | null | undefined;
  readonly org?: string | null | undefined;
  /** `os/architecture[/variant]` or `all`. */
  readonly platform?: string | null | undefined;
  /** `host[:port]` of registries without TLS, or with a certificate that nobody vouches for. */
  readonly insecure?: readonly string[] | null | undefined;
  /** Path of a PEM file. */
  readonly ca?: string | null | undefined;
  /** Bytes per second that all transfers of the client together send to registries and receive from them. @default no limit */
  readonly rateLimit?: number | string | null | undefined;
  /** Replaces `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | null | undefined;
  /** Answers for credentials: where it is given no file, helper or variable is asked. */
  readonly fetchCredentials?: FetchCredentials | null | undefined;
  /** Called with what is worth knowing and no failure. Default: nothing. */
  readonly onWarning?: ((text: string) => void) | null | undefined;
  /** Called with what was decided and why, without secrets. Default: nothing. */
  readonly onDebug?: ((text: string) => void) | null | undefined;
  /** Closes the client when it fires. */
  readonly signal?: AbortSignal | null | undefined;
}

/** What {@link openClient} gives. Many transfers may run on one client: they share connections, limits and blobs in flight. */
export interface Client extends AsyncDisposable {
  /** What the client works with, as it was read when it was opened. */
  readonly config: Config;
  /** Text to images and back: synchronous and pure. */
  readonly parse: Parser;
  readonly images: Images;
  /** The images of the engine in use. */
  readonly local: LocalImages;
  /** Verifies credentials, then stores them where docker reads. */
  login(options: LoginOptions): Promise<LoginResult>;
  /** @param registry `host[:port]` or a cluster's name. Default: the current cluster. */
  logout(registry?: string | null): Promise<LogoutResult>;
  /** Looks at engines, registry, credentials, clock, disk and store. */
  doctor(options?: DoctorOptions | null): Promise<DoctorResult>;
  /** Cancels what runs, waits for it, and closes connections, files and children. Later calls give `closed`. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens a client. Reads the configuration file and the environment once, and touches nothing else: engine,
 * network and folders wait for the first call that needs them.
 * @throws LadingError `config-invalid`
 */
export async function openClient(options: OpenClientOptions | null = null): Promise<Client> {
  return await openClientWith(options, {});
}

/** @internal {@link openClient} with a network, a clock and a chance that a test can move. */
export async function openClientWith(
  options: OpenClientOptions | null,
  seams: Pick<ContextOptions, "network" | "clock" | "random">,
): Promise<Client> {
  checkOptions(options);
  const { env, fetchCredentials, onWarning, onDebug, signal, ...settings } = options ?? {};
  throwIfAborted(signal);
  const environment = Object.freeze({ ...(env ?? process.env) });
  const { config: given, configPath, engine, storePath, concurrency, rateLimit, ...overrides } = settings;
  const config = await loadConfig({
    config: given,
    configPath,
    engine,
    storePath,
    concurrency,
    overrides: { ...overrides, limitRate: rateLimit },
    env: environment,
  });
  const context = new ClientContext({ config, env: environment, fetchCredentials, onWarning, onDebug, ...seams });
  throwIfAborted(signal);
  const closeBySignal = () => void context.close(signal?.reason);
  signal?.addEventListener("abort", closeBySignal, { once: true });
  const close = async () => {
    signal?.removeEventListener("abort", closeBySignal);
    await context.close();
  };
  return Object.freeze({
    config,
    parse: context.parser,
    images: new Images(context),
    local: new LocalImages(context),
    login: (login: LoginOptions) =>
      context.run("login", { options: login }, async (joined) => {
        const operation = await import("./operations/login.js");
        return await operation.login(context, login, joined);
      }),
    logout: (registry: string | null = null) =>
      context.run("logout", {}, async () => {
        const operation = await import("./operations/login.js");
        return await operation.logout(context, registry);
      }),
    doctor: (doctorOptions: DoctorOptions | null = null) =>
      context.run("doctor", { options: doctorOptions }, async (joined) => {
        const { doctor } = await import("./operations/doctor.js");
        return await doctor(context, doctorOptions ?? {}, joined);
      }),
    close,
    [Symbol.asyncDispose]: close,
  });
}

/** @throws LadingError `usage` */
function checkOptions(options: unknown): void {
  checkCallOptions(options);
  const { env, config, onWarning, onDebug } = (options ?? {}) as Readonly<Record<string, unknown>>;
  for (const [name, value] of Object.entries({ env, config })) {
    if (value !== undefined && value !== null && (typeof value !== "object" || Array.isArray(value))) {
      throw misused(name, "an object");
    }
  }
  for (const [name, value] of Object.entries({ onWarning, onDebug })) {
    if (value !== undefined && value !== null && typeof value !== "function") throw misused(name, "a function");
  }
}
