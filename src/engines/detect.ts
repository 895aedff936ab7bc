import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isLadingError, LadingError, throwIfAborted } from "../errors.js";
import { contextEndpoint, currentContext, dockerHost } from "./docker-context.js";
import { type EngineEndpoint, endpointText, parseEndpoint, requireSafeEndpoint } from "./endpoint.js";
import type { DetectedEngine, EngineAttempt, EngineKind, LocalEngine } from "./engine.js";
import { EngineApi } from "./engine-api.js";
import { podmanConnection } from "./podman-connections.js";
import { programPath } from "./program-path.js";

export interface DetectOptions {
  readonly engine: "auto" | EngineKind;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly homeDirectory: string;
  /** Opens Lading's own store as an engine. */
  readonly store: () => Promise<LocalEngine>;
  /** Hosts (`host` or `host:port`) of engines that may be spoken to without TLS. Loopback always may. @default none */
  readonly insecure?: readonly string[] | undefined;
  /** Arguments for a `podman` that is started on demand, before `system service`: `--root`, `--runroot`. @default none */
  readonly podmanArguments?: readonly string[] | undefined;
  /** The user's number, for the rootless sockets in /run/user. @default that of the process */
  readonly uid?: number | undefined;
  /** The minutes of the host's time zone at the epoch; see `legacyLayerIds`. @default that of the process */
  readonly timeZoneOffset?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One place to look. It says why there is no engine, or where one should answer. */
interface Strategy {
  readonly kind: "docker" | "podman";
  find(search: Search): Promise<Finding>;
}
type Finding =
  | { readonly absent: string }
  /** It is there: if it does not answer, that is an error and no reason to look elsewhere. */
  | { readonly endpoint: EngineEndpoint; readonly origin: string };

type Search = DetectOptions & { readonly uid: number };

/**
 * Finds the local engine: Docker, then Podman, then Lading's own store. It goes on to the next one only where one is
 * absent. What is there (a socket, `DOCKER_HOST`, `CONTAINER_HOST`, a context) and does not answer is an error,
 * because the user's images are in it.
 * @throws LadingError `engine-unavailable`, `config-invalid`, `unsafe-url`, `tls`
 */
export async function detectEngine(options: DetectOptions): Promise<DetectedEngine> {
  const search: Search = { ...options, uid: options.uid ?? process.getuid?.() ?? 0 };
  const tried: EngineAttempt[] = [];
  if (options.engine === "store") return await useStore(options, "engine = store is set", tried);

  const wanted = strategies(search).filter(({ kind }) => options.engine === "auto" || options.engine === kind);
  // Sockets of one kind are alternatives of each other: the first that answers is taken, a dead one is remembered.
  let dead: LadingError | null = null;
  let deadKind: EngineKind | null = null;
  for (const strategy of wanted) {
    throwIfAborted(options.signal);
    if (dead !== null && deadKind !== strategy.kind) throw withAttempts(dead, tried);
    const finding = await strategy.find(search);
    if ("absent" in finding) {
      tried.push({ kind: strategy.kind, reason: finding.absent });
      continue;
    }
    const { endpoint, origin } = finding;
    requireSafeEndpoint(endpoint, options.insecure ?? [], origin);
    const shown = origin === endpointText(endpoint) ? origin : `${origin} (${endpointText(endpoint)})`;
    try {
      const engine = await connect(endpoint, strategy.kind, options);
      const reason = `${shown} answers`;
      return { engine, kind: engine.kind, reason, tried: [...tried, { kind: engine.kind, reason }] };
    } catch (error) {
      throwIfAborted(options.signal);
      if (!isLadingError(error)) throw error;
      tried.push({ kind: strategy.kind, reason: `${shown}: ${error.message}` });
      if (!isUsualSocket(finding)) throw withAttempts(error, tried);
      dead ??= error;
      deadKind = strategy.kind;
    }
  }
  if (dead !== null) throw withAttempts(dead, tried);

  if (options.engine !== "docker") {
    const podman = await podmanOnDemand(options, tried);
    if (podman !== null) return podman;
  }
  if (options.engine === "auto") return await useStore(options, "no Docker and no Podman is here", tried);
  const none = new LadingError(
    "engine-unavailable",
    `no ${options.engine === "docker" ? "Docker" : "Podman"} is here`,
    {
      hint: "install or start it, or work without an engine: --engine store",
    },
  );
  throw withAttempts(none, tried);
}

function isUsualSocket({ endpoint, origin }: { endpoint: EngineEndpoint; origin: string }): boolean {
  return endpoint.kind === "socket" && origin === endpointText(endpoint);
}

function withAttempts(error: LadingError, tried: readonly EngineAttempt[]): LadingError {
  const places = (attempts: readonly EngineAttempt[]) => attempts.map(({ reason }) => reason).join("; ");
  // What is there and does not answer is what counts; only where nothing is there, every place that was looked at.
  const failed = tried.filter(({ reason }) => reason.includes(error.message));
  const message = failed.length > 0 ? places(failed) : `${error.message}: ${places(tried)}`;
  const hint = error.hint?.includes("--engine store")
    ? error.hint
    : [error.hint, "or work without an engine: --engine store"].filter(Boolean).join("; ");
  return new LadingError(error.code, message, {
    ...error.toJSON(),
    hint,
    cause: error,
  });
}

async function connect(
  endpoint: EngineEndpoint,
  kind: "docker" | "podman",
  options: DetectOptions,
): Promise<LocalEngine> {
  const api = new EngineApi({ endpoint, env: options.env, platform: options.platform });
  try {
    const { libpodVersion } = await api.ping(options.signal);
    // Podman often answers where Docker is expected (podman-docker, DOCKER_HOST): what it is decides.
    if (libpodVersion !== null) {
      const { PodmanEngine } = await import("./podman.js");
      return new PodmanEngine(api);
    }
    if (kind === "podman") {
      throw new LadingError("engine-unavailable", `${endpointText(endpoint)} is an engine, but not Podman`);
    }
    const { DockerEngine } = await import("./docker.js");
    return new DockerEngine(api, { timeZoneOffset: options.timeZoneOffset ?? new Date(0).getTimezoneOffset() });
  } catch (error) {
    await api.close();
    throw error;
  }
}

async function useStore(
  options: DetectOptions,
  reason: string,
  tried: readonly EngineAttempt[],
): Promise<DetectedEngine> {
  return { engine: await options.store(), kind: "store", reason, tried: [...tried, { kind: "store", reason }] };
}

async function podmanOnDemand(options: DetectOptions, tried: EngineAttempt[]): Promise<DetectedEngine | null> {
  // Elsewhere the program is only a client of a virtual machine.
  const program = options.platform === "linux" ? await programPath("podman", options.env, options.platform) : null;
  if (program === null) {
    tried.push({ kind: "podman", reason: "the program podman is not on PATH" });
    return null;
  }
  const [{ PodmanService }, { PodmanEngine }] = await Promise.all([
    import("./podman-service.js"),
    import("./podman.js"),
  ]);
  const service = await PodmanService.start({
    program,
    arguments: options.podmanArguments,
    env: options.env,
    signal: options.signal,
  }).catch((error: unknown) => {
    if (!isLadingError(error) || error.code !== "engine-unavailable") throw error;
    tried.push({ kind: "podman", reason: error.message });
    throw withAttempts(error, tried);
  });
  const endpoint: EngineEndpoint = { kind: "socket", path: service.socketPath };
  const api = new EngineApi({ endpoint, env: options.env, platform: options.platform });
  const reason = `${program} without a service: started one for this run`;
  const engine = new PodmanEngine(api, { onClose: () => service.stop() });
  return { engine, kind: "podman", reason, tried: [...tried, { kind: "podman", reason }] };
}

function strategies(search: Search): readonly Strategy[] {
  const { env } = search;
  return [
    { kind: "docker", find: fromDockerHost },
    // DOCKER_HOST counts for more than a context, as for docker itself.
    ...(env.DOCKER_HOST ? [] : [{ kind: "docker", find: fromContext } as const]),
    ...dockerSockets(search).map((path) => socketStrategy("docker", path)),
    { kind: "podman", find: fromContainerHost },
    // On Linux podman itself is local and asks a connection only where it is told to; elsewhere there is nothing else.
    ...(search.platform === "linux" && !env.CONTAINER_CONNECTION ? [] : [connectionStrategy]),
    ...podmanSockets(search).map((path) => socketStrategy("podman", path)),
    ...(search.platform === "linux" && !env.CONTAINER_CONNECTION ? [connectionStrategy] : []),
  ];
}

async function fromDockerHost({ env, homeDirectory }: Search): Promise<Finding> {
  if (!env.DOCKER_HOST) return { absent: "DOCKER_HOST is not set" };
  return { endpoint: await dockerHost(env.DOCKER_HOST, env, homeDirectory), origin: "DOCKER_HOST" };
}

async function fromContext({ env, homeDirectory }: Search): Promise<Finding> {
  const context = await currentContext(env, homeDirectory);
  if (context === null) return { absent: "no docker context is chosen" };
  const endpoint = await contextEndpoint(context.name, env, homeDirectory);
  return { endpoint, origin: `docker context ${JSON.stringify(context.name)} of ${context.origin}` };
}

async function fromContainerHost({ env }: Search): Promise<Finding> {
  if (!env.CONTAINER_HOST) return { absent: "CONTAINER_HOST is not set" };
  const identityFile = env.CONTAINER_SSHKEY || null;
  const endpoint = parseEndpoint(env.CONTAINER_HOST, { origin: "CONTAINER_HOST", program: "podman", identityFile });
  return { endpoint, origin: "CONTAINER_HOST" };
}

const connectionStrategy: Strategy = {
  kind: "podman",
  async find({ env, homeDirectory }) {
    const connection = await podmanConnection(env, homeDirectory);
    if (connection === null) return { absent: "no podman connection is configured" };
    const origin = `podman connection ${JSON.stringify(connection.name)} of ${connection.origin}`;
    const { uri, identityFile } = connection;
    return { endpoint: parseEndpoint(uri, { origin, program: "podman", identityFile }), origin };
  },
};

function socketStrategy(kind: "docker" | "podman", path: string): Strategy {
  return {
    kind,
    async find() {
      const endpoint: EngineEndpoint = { kind: "socket", path };
      if (!(await isThere(path))) return { absent: `no socket ${path}` };
      return { endpoint, origin: endpointText(endpoint) };
    },
  };
}

/** A folder that may not be looked into counts as absent: it is another user's. */
async function isThere(path: string): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isSocket() || path.startsWith("\\\\");
  } catch {
    return false;
  }
}

/** Where Docker Engine and the desktop products that carry it listen. */
function dockerSockets({ env, platform, homeDirectory, uid }: Search): readonly string[] {
  if (platform === "win32") return ["\\\\.\\pipe\\docker_engine", "\\\\.\\pipe\\dockerDesktopLinuxEngine"];
  const home = (...parts: string[]): string => join(homeDirectory, ...parts);
  return [
    "/var/run/docker.sock",
    home(".docker", "run", "docker.sock"),
    home(".docker", "desktop", "docker.sock"),
    home(".colima", "default", "docker.sock"),
    home(".rd", "docker.sock"),
    home(".orbstack", "run", "docker.sock"),
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, "docker.sock")] : []),
    ...(platform === "linux" && uid !== 0 ? [`/run/user/${uid}/docker.sock`] : []),
  ];
}

function podmanSockets({ env, platform, homeDirectory, uid }: Search): readonly string[] {
  if (platform === "win32") return ["\\\\.\\pipe\\podman-machine-default"];
  const machines = join(env.XDG_DATA_HOME || join(homeDirectory, ".local", "share"), "containers", "podman", "machine");
  return [
    ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, "podman", "podman.sock")] : []),
    ...(platform === "linux" && uid !== 0 ? [`/run/user/${uid}/podman/podman.sock`] : []),
    "/run/podman/podman.sock",
    join(machines, "podman.sock"),
    join(machines, "qemu", "podman.sock"),
    join(machines, "podman-machine-default", "podman.sock"),
  ];
}
