import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { abortError, LadingError, throwIfAborted } from "../errors.js";

/** A service that nobody stops (its parent was killed) ends by itself after this time without a connection, seconds. */
const idleSeconds = 3600;
const startTimeout = 30_000;
const stopTimeout = 5_000;
const maximumStderr = 4096;

export interface PodmanServiceOptions {
  /** The absolute path of `podman`. */
  readonly program: string;
  /** Further arguments before `system service`, such as `--root`. */
  readonly arguments?: readonly string[] | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
}

/** `podman system service` on a socket of its own, for machines where no service runs. */
export class PodmanService {
  readonly socketPath: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  #stopped: Promise<void> | null = null;

  private constructor(child: ChildProcess, folder: string, socketPath: string) {
    this.#child = child;
    this.#folder = folder;
    this.socketPath = socketPath;
  }

  /** @throws LadingError `engine-unavailable` where Podman does not come up */
  static async start(options: PodmanServiceOptions): Promise<PodmanService> {
    const { program, env, signal } = options;
    throwIfAborted(signal);
    // Made by mkdtemp: nobody else may look into it.
    const folder = await mkdtemp(join(tmpdir(), "lading-podman-"));
    const socketPath = join(folder, "podman.sock");
    const child = spawn(
      program,
      [...(options.arguments ?? []), "system", "service", `--time=${idleSeconds}`, `unix://${socketPath}`],
      // A process group of its own: Ctrl-C is for Lading, which then stops it in order.
      { env: { ...env }, stdio: ["ignore", "ignore", "pipe"], detached: true, shell: false, windowsHide: true },
    );
    const service = new PodmanService(child, folder, socketPath);
    try {
      await service.#ready(signal);
    } catch (error) {
      await service.stop();
      throw error;
    }
    return service;
  }

  async #ready(signal?: AbortSignal): Promise<void> {
    const child = this.#child;
    let stderr = "";
    let ended: string | null = null;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < maximumStderr) stderr += text.slice(0, maximumStderr);
    });
    child.on("error", (error) => {
      ended = error.message;
    });
    child.on("close", (code, by) => {
      ended ??= stderr.trim() || `it ended with ${code ?? by}`;
    });
    const deadline = performance.now() + startTimeout;
    while (!(await answers(this.socketPath))) {
      if (signal?.aborted === true) throw abortError(signal);
      if (ended !== null || performance.now() > deadline) {
        const why = ended ?? `no answer within ${startTimeout / 1000} s`;
        throw new LadingError("engine-unavailable", `podman is installed but its service does not start: ${why}`, {
          hint: 'check that "podman info" works, or work without an engine: --engine store',
        });
      }
      await delay(25);
    }
    // Its output is not held against the end of the process that started it.
    child.stderr?.resume();
    child.unref();
    (child.stderr as unknown as { unref?: () => void } | null)?.unref?.();
  }

  /** Stops the service and removes its socket. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      child.ref();
      const gone = new Promise<void>((resolve) => {
        child.once("exit", () => resolve());
      });
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeout);
      await gone;
      clearTimeout(timer);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
