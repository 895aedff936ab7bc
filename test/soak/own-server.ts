import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { peakOf } from "./lading-run.js";
import { within } from "./patience.js";

export interface OwnServerOptions {
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  readonly data: string;
  readonly onPeak: (bytes: number) => void;
}

/** How long it may take to come up or to end, in ms: ten times and more what it takes. */
const patience = 60_000;

/** `lading serve` as a process of its own, that can be killed and started again at the same port. */
export class OwnServer {
  readonly #options: OwnServerOptions;
  #child: ChildProcess | null = null;
  #watch: NodeJS.Timeout | null = null;
  #stderr = "";
  port = 0;

  constructor(options: OwnServerOptions) {
    this.#options = options;
  }

  /** All that it has written to stderr. */
  get stderr(): string {
    return this.#stderr;
  }

  async start(): Promise<void> {
    const { program, env, data, onPeak } = this.#options;
    const child = spawn(process.execPath, [program, "serve", "--data", data, "--port", String(this.port)], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    const listening = new Promise<string>((resolve, reject) => {
      child.stdout.setEncoding("utf8").once("data", (text: string) => resolve(text.trim()));
      child.on("close", (exit) => reject(new Error(`lading serve ended with ${exit}: ${this.#stderr.slice(-2000)}`)));
    });
    const url = await within("lading serve to listen", patience, listening);
    this.port = Number(new URL(url).port);
    this.#watch = setInterval(async () => onPeak(await peakOf(child.pid)), 250);
  }

  /** SIGKILL, and up again. */
  async crash(): Promise<void> {
    await this.#end("SIGKILL");
    await this.start();
  }

  async stop(): Promise<number | null> {
    return await this.#end("SIGTERM");
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.#watch !== null) clearInterval(this.#watch);
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = once(child, "close");
    child.kill(signal);
    try {
      await within(`lading serve to end on ${signal}`, patience, ended);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
    return child.exitCode;
  }
}
