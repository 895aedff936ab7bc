import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type EngineStarter, newestDocker, olderDocker, podman, type RunningEngine } from "../test/support/engines.js";
import { output } from "../test/support/programs.js";
import type { BenchImage } from "./image-shelf.js";
import type { Command } from "./measure.js";
import type { World } from "./world.js";

/** An engine that takes part with its own program, and as Lading's other end. */
export interface EngineKind {
  readonly name: string;
  /** What does without Lading what Lading does: `docker`. */
  readonly program: "docker" | "podman";
  readonly starter: EngineStarter;
  /** An image's ID is the digest of its manifest. */
  readonly keepsManifest: boolean;
}

export const olderEngine: EngineKind = {
  name: "older Docker",
  program: "docker",
  starter: olderDocker,
  keepsManifest: false,
};
export const newestEngine: EngineKind = {
  name: "newest Docker",
  program: "docker",
  starter: newestDocker,
  keepsManifest: true,
};
export const podmanEngine: EngineKind = { name: "Podman", program: "podman", starter: podman, keepsManifest: false };

/** The name of every image in an engine. */
export const local = "app:1";

/** A running engine of one kind, with nothing in it. */
export class BenchEngine {
  readonly kind: EngineKind;
  readonly #running: RunningEngine;
  readonly #world: World;

  private constructor(kind: EngineKind, running: RunningEngine, world: World) {
    this.kind = kind;
    this.#running = running;
    this.#world = world;
  }

  /** @returns Null where it is not on this machine. */
  static async start(kind: EngineKind, world: World): Promise<BenchEngine | null> {
    if ((await kind.starter.available()) !== null) return null;
    return new BenchEngine(kind, await kind.starter.start(), world);
  }

  async stop(): Promise<void> {
    await this.#running.stop();
  }

  /** Whose work counts beside that of the program that was called. */
  get daemons(): readonly number[] {
    return [this.#running.pid];
  }

  /** The engine's own program. */
  async own(...args: readonly string[]): Promise<Command> {
    const { socketPath, folder } = this.#running;
    const place =
      this.kind.program === "docker"
        ? ["-H", `unix://${socketPath}`]
        : ["--root", join(folder, "root"), "--runroot", join(folder, "run")];
    const docker = { DOCKER_CONFIG: folder, DOCKER_BUILDKIT: "0" };
    const env = await this.#world.environment(this.kind.program === "docker" ? docker : {});
    return { program: this.kind.program, args: [...place, ...args], env };
  }

  async run(...args: readonly string[]): Promise<string> {
    const { program, args: all, env = {} } = await this.own(...args);
    return await output(program, all, { env: { ...env } });
  }

  /** The engine's own push or pull, said as one says it to it. */
  async ownTransfer(verb: "push" | "pull", reference: string): Promise<Command> {
    const plain = this.kind.program === "podman" ? ["--tls-verify=false"] : [];
    return await this.own(verb, "-q", ...plain, reference);
  }

  /** Lading with this engine and a store that nobody has used. */
  async lading(store: string, ...args: readonly string[]): Promise<Command> {
    const socket = `unix://${this.#running.socketPath}`;
    const address = this.kind.program === "docker" ? { DOCKER_HOST: socket } : { CONTAINER_HOST: socket };
    const env = await this.#world.environment({ LADING_ENGINE: this.kind.program, LADING_STORE: store, ...address });
    return { program: process.execPath, args: [this.#world.program, ...args], env };
  }

  async skopeoPush(reference: string): Promise<Command> {
    const from = `docker-daemon:${local}`;
    const daemon = ["--src-daemon-host", `unix://${this.#running.socketPath}`];
    const args = [
      "--insecure-policy",
      "copy",
      "-q",
      "--dest-tls-verify=false",
      ...daemon,
      from,
      `docker://${reference}`,
    ];
    return { program: "skopeo", args, env: await this.#world.environment() };
  }

  /** Gives an image the name that is pushed, and takes the one away that it came under. */
  async rename(from: string, to: string): Promise<void> {
    await this.run("tag", from, to);
    await this.run("rmi", from);
  }

  /** A change of one small layer on top of an image, of the usual size of a program that was built anew. */
  async addLayer(from: string, to: string, content: Uint8Array): Promise<void> {
    const folder = await mkdtemp(join(this.#world.folder, "build-"));
    await writeFile(join(folder, "Dockerfile"), `FROM ${from}\nADD new /new\n`);
    await writeFile(join(folder, "new"), content);
    await this.run("build", "-q", "-t", to, folder);
  }

  /** @throws Error where an image is not there whole: every engine has compared its layers with their diff IDs */
  async whole(name: string, image: BenchImage): Promise<void> {
    const inspected = JSON.parse(await this.run("image", "inspect", name)) as readonly {
      readonly Id: string;
      readonly RootFS: { readonly Layers: readonly string[] };
    }[];
    const read = async (digest: string) =>
      JSON.parse(await readFile(join(image.folder, "blobs", ...digest.split(":")), "utf8"));
    const manifest = (await read(image.digest)) as { readonly config: { readonly digest: string } };
    const config = (await read(manifest.config.digest)) as {
      readonly rootfs: { readonly diff_ids: readonly string[] };
    };
    const expected = this.kind.keepsManifest ? image.digest : manifest.config.digest;
    const [found] = inspected;
    const id = found?.Id.replace(/^(?!sha256:)/, "sha256:");
    if (id !== expected) throw new Error(`${name} is ${id}, not ${expected}`);
    if (found?.RootFS.Layers.join() !== config.rootfs.diff_ids.join()) throw new Error(`${name} has other layers`);
  }
}
