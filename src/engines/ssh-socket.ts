import { type ChildProcess, spawn } from "node:child_process";
import { Duplex } from "node:stream";
import { LadingError } from "../errors.js";
import type { EngineEndpoint } from "./endpoint.js";
import { endpointText } from "./endpoint.js";

export type SshEndpoint = Extract<EngineEndpoint, { kind: "ssh" }>;

/** At most this much of what `ssh` says is kept for the error. */
const maximumStderr = 4096;

/** The arguments for `ssh`: an array, no shell here, and `--` before what came from outside. */
export function sshArguments(endpoint: SshEndpoint): readonly string[] {
  const { host, user, port, socketPath, program, identityFile } = endpoint;
  const remote =
    socketPath === null
      ? [program, "system", "dial-stdio"]
      : [program, program === "docker" ? "--host" : "--url", `unix://${socketPath}`, "system", "dial-stdio"];
  return [
    "-T",
    "-o",
    "ConnectTimeout=30",
    ...(identityFile === null ? [] : ["-i", identityFile]),
    ...(user === null ? [] : ["-l", user]),
    ...(port === null ? [] : ["-p", String(port)]),
    "--",
    host,
    ...remote,
  ];
}

/**
 * A connection to an engine on another machine: the standard streams of the system's `ssh`, which runs
 * `docker system dial-stdio` there. So keys, agents, jump hosts and known hosts are those of `~/.ssh`.
 * Has the few methods of a socket that Node's HTTP agent calls.
 */
export class SshSocket extends Duplex {
  readonly #child: ChildProcess;
  #stderr = "";

  constructor(program: string, endpoint: SshEndpoint, env: Readonly<Record<string, string | undefined>>) {
    super({ allowHalfOpen: true });
    const child = spawn(program, sshArguments(endpoint), {
      env: { ...env },
      stdio: ["pipe", "pipe", "pipe"],
      shell: false,
      windowsHide: true,
    });
    this.#child = child;
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (this.#stderr.length < maximumStderr) this.#stderr += text.slice(0, maximumStderr);
    });
    child.stdout.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) child.stdout.pause();
    });
    // A write to a child that has gone: its exit says why.
    child.stdin.on("error", () => {});
    child.stdout.on("error", (error) => this.destroy(error));
    child.stderr.on("error", () => {});
    child.on("error", (error) => this.destroy(this.#failure(endpoint, error.message, error)));
    // "close", not "exit": all that it wrote has been read by then.
    child.on("close", (code) => {
      if (code === 0 || this.destroyed) this.push(null);
      else this.destroy(this.#failure(endpoint, this.#stderr.trim() || `it ended with ${code}`));
    });
  }

  #failure(endpoint: SshEndpoint, reason: string, cause?: unknown): LadingError {
    return new LadingError("engine-unavailable", `ssh to ${endpointText(endpoint)} failed: ${reason}`, {
      hint: `check that "ssh ${endpoint.user === null ? "" : `${endpoint.user}@`}${endpoint.host} ${endpoint.program} version" works, or use --engine store`,
      cause,
    });
  }

  override _read(): void {
    this.#child.stdout?.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const stdin = this.#child.stdin;
    if (stdin === null || stdin.destroyed) done(new Error("ssh has ended"));
    // An error of the write itself comes with the child's exit; the callback must be called either way.
    else stdin.write(chunk, () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#child.stdin?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#child.stdin?.destroy();
    this.#child.stdout?.destroy();
    this.#child.kill("SIGTERM");
    done(error);
  }

  setKeepAlive(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
  ref(): this {
    this.#child.ref();
    return this;
  }
  unref(): this {
    this.#child.unref();
    return this;
  }
}
