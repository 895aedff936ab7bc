import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import type { Digest } from "../../src/oci/digest.js";
import { type RandomImageOptions, randomImage } from "../support/random-image.js";

/** The command line as it is shipped, built for this run. */
export const program = inject("program");

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LadingOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with the child once it runs. */
  readonly onStart?: ((child: ReturnType<typeof spawn>) => void) | undefined;
}

/** A machine where nobody has used Lading yet, and no engine is to be found. */
export class Machine {
  readonly home: string;

  private constructor(home: string) {
    this.home = home;
  }

  static async create(): Promise<Machine> {
    return new Machine(await mkdtemp(join(tmpdir(), "lading-cli-")));
  }

  /** Where this machine's own images are. */
  get store(): string {
    return join(this.home, ".local", "share", "lading", "store");
  }

  get env(): Record<string, string> {
    const settings = { LADING_ENGINE: "store", LADING_OWNER: "alice" };
    // What a run leaves of its compiled code has a test of its own.
    return { HOME: this.home, PATH: process.env.PATH ?? "", NODE_DISABLE_COMPILE_CACHE: "1", ...settings };
  }

  /** Runs the built command line as a child process with pipes. */
  lading(args: readonly string[], options: LadingOptions = {}): Promise<Outcome> {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: this.home,
      env: { ...this.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    child.stdout.on("data", (chunk: Buffer) => output.stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => output.stderr.push(chunk));
    // A child that ends before it has read its input is no failure of the test.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
    options.onStart?.(child);
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => {
        const text = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString("utf8");
        resolve({ code, stdout: text(output.stdout), stderr: text(output.stderr) });
      });
    });
  }

  /** Puts an image of random bytes into Lading's own store. */
  async putImage(name: string, options: RandomImageOptions = {}): Promise<Digest> {
    const store = new LayoutStore(this.store, { durability: "fast" });
    const image = await randomImage(store, options);
    await store.tag(image.root, name);
    return image.root.digest;
  }

  async remove(): Promise<void> {
    await rm(this.home, { recursive: true, force: true });
  }
}
