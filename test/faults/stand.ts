import { join } from "node:path";
import { afterEach, onTestFinished } from "vitest";
import { run } from "../../src/cli/run.js";
import { openClientWith } from "../../src/client.js";
import { MemoryStore } from "../../src/content/memory.js";
import type { Network } from "../../src/registry/checked-lookup.js";
import { createRegistry, listen } from "../../src/server/index.js";
import { Machine } from "../cli/machine.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { type ConnectionFaults, type FaultProxy, startFaultProxy } from "../support/fault-proxy.js";
import { type ManualClock, manualClock } from "../support/manual-clock.js";
import { type RandomImage, type RandomImageOptions, randomImage } from "../support/random-image.js";
import { recordedIo } from "../support/recorded-io.js";
import { testClient } from "../support/registry-client.js";
import { type Handler, type ScriptedRegistry, startScriptedRegistry } from "../support/scripted-registry.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import type { Ended } from "./nothing-lost.js";

/** A real registry that keeps its content in a folder. */
export interface FolderRegistry {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  /** Where its content is; null where that is somebody else's business. */
  readonly folder: string | null;
  /** `METHOD /target` and the `Range` of each request so far; empty for a program of somebody else. */
  readonly requests: readonly { readonly line: string; readonly range: string | undefined }[];
}

/** One run of the command line in this process, with its clock. */
export interface PlayedRun extends Ended {
  readonly clock: ManualClock;
  /** The objects that `--progress json` printed. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
}

export interface PlayOptions {
  readonly clock?: ManualClock;
  readonly network?: Network;
  readonly env?: Readonly<Record<string, string>>;
  /** @default always half */
  readonly random?: () => number;
}

export const repository = "team/app";

/** The two real registries, for faults that a line makes: ours and Debian's. */
export const realRegistries: readonly (readonly [
  string,
  (stand: Stand, context: { skip(skip: boolean, note?: string): void }) => Promise<FolderRegistry>,
])[] = [
  ["the embedded registry", async (stand) => await stand.own()],
  [
    "Debian's docker-registry",
    async (stand, context) => {
      const program = await findDockerRegistry();
      context.skip(program === null, "docker-registry is not installed");
      return await stand.debian(program ?? "");
    },
  ],
];

/** What faults are played on; all of it ends with each test. To be made once in a file. */
export class Stand {
  readonly #closers: (() => unknown)[] = [];

  constructor() {
    afterEach(async () => {
      for (const close of this.#closers.splice(0).reverse()) await close();
    });
  }

  keep<Thing extends { close(): unknown }>(thing: Thing): Thing {
    this.#closers.push(() => thing.close());
    return thing;
  }

  async scripted(...handlers: Handler[]): Promise<ScriptedRegistry> {
    return this.keep(await startScriptedRegistry(...handlers));
  }

  /** The embedded registry in a folder of its own. */
  async own(): Promise<FolderRegistry> {
    const folder = await temporaryFolder();
    const registry = createRegistry({ storage: { directory: folder }, durability: "fast" });
    const requests: { line: string; range: string | undefined }[] = [];
    const server = await listen(
      {
        handle: (request) => {
          const { range } = request.headers;
          requests.push({ line: `${request.method} ${request.url}`, range });
          return registry.handle(request);
        },
      },
      { host: "127.0.0.1", port: 0 },
    );
    this.#closers.push(async () => {
      await server.close(0);
      await registry.close();
    });
    const port = Number(new URL(server.url).port);
    return { url: `http://127.0.0.1:${port}`, port, folder, requests };
  }

  async debian(program: string): Promise<FolderRegistry> {
    const { url, port } = this.keep(await startDockerRegistry(program));
    return { url, port, folder: null, requests: [] };
  }

  /** A line to a registry that fails as the test says. */
  async line(port: number, faults: (connection: number) => ConnectionFaults | null): Promise<FaultProxy> {
    return this.keep(await startFaultProxy({ host: "127.0.0.1", port, faults }));
  }

  /** Puts an image of random content into `team/app:1` of a registry, beside all faults. */
  async image(url: string, options: RandomImageOptions = {}): Promise<RandomImage> {
    const { client } = testClient(url);
    try {
      const into = client.repository(repository);
      const image = await randomImage(into, options);
      await into.tag(image.root, "1", { bytes: image.manifest });
      return image;
    } finally {
      client.close();
    }
  }

  /** The same in a scripted registry, put there at once. */
  async scriptedImage(registry: ScriptedRegistry, options: RandomImageOptions = {}): Promise<RandomImage> {
    const image = await randomImage(new MemoryStore(), options);
    for (const { descriptor, bytes } of [...image.layers, image.config]) {
      registry.blobs.set(descriptor.digest, Buffer.from(bytes));
    }
    const manifest = { type: image.root.mediaType, bytes: Buffer.from(image.manifest) };
    for (const reference of ["1", image.root.digest]) registry.manifests.set(reference, manifest);
    return image;
  }

  /** A machine where nobody has used Lading yet. */
  async machine(): Promise<Machine> {
    const machine = await Machine.create();
    onTestFinished(() => machine.remove());
    return machine;
  }

  /**
   * Plays the command line with `--json --progress json` in this process, with a clock that the test moves and
   * waits that are over at once.
   */
  async play(machine: Machine, args: readonly string[], options: PlayOptions = {}): Promise<PlayedRun> {
    const { clock = manualClock(), network, env = {}, random = () => 0.5 } = options;
    const io = recordedIo({ env: { ...machine.env, XDG_CONFIG_HOME: join(machine.home, "config"), ...env } });
    const seams = { clock, random, network };
    const code = await run([...args, "--json", "--progress", "json"], io, {
      openClient: (given) => openClientWith(given, seams),
    });
    const [stdout, stderr] = [io.stdout.text, io.stderr.text];
    const events = stderr
      .split("\n")
      .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as PlayedRun["events"][number]] : []));
    return { code, stdout, stderr, clock, events };
  }
}

/** `127.0.0.1:PORT/team/app:1` of a registry or a line to one. */
export function imageAt({ url }: { readonly url: string }): string {
  return `${new URL(url).host}/${repository}:1`;
}
