import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { changeTopLayer, writeBuildContext } from "./build-context.js";
import type { EngineUser, EngineUserKind } from "./engine-users.js";
import { Workplace } from "./workplace.js";

/** An image in an engine. */
export interface BuiltImage {
  /** The engine's ID of it. */
  readonly id: string;
  /** How many it has. */
  readonly layers: number;
}

/** What the tests of one suite share: engines, a registry, and something to build. */
export class JobBench {
  readonly folder: string;
  readonly registry: RunningRegistry;
  readonly #engines = new Map<EngineUserKind, EngineUser>();

  private constructor(folder: string, registry: RunningRegistry) {
    this.folder = folder;
    this.registry = registry;
  }

  static async create(kinds: readonly EngineUserKind[]): Promise<JobBench> {
    const folder = await mkdtemp(join(tmpdir(), "lading-job-"));
    const bench = new JobBench(folder, await startOwnRegistry({ directory: join(folder, "registry") }));
    try {
      await writeBuildContext(join(folder, "context"));
      for (const kind of kinds) bench.#engines.set(kind, await kind.start());
    } catch (error) {
      await bench.close();
      throw error;
    }
    return bench;
  }

  /** The config of an image in the registry: what engines that keep no manifest call the image by. */
  async configDigest(path: string, digest: string): Promise<string> {
    const response = await fetch(`${this.registry.url}/v2/${path}/manifests/${digest}`);
    const manifest = (await response.json()) as { readonly config: { readonly digest: string } };
    return manifest.config.digest;
  }

  engine(kind: EngineUserKind): EngineUser {
    const engine = this.#engines.get(kind);
    if (engine === undefined) throw new Error(`${kind.name} was not started`);
    return engine;
  }

  /** Builds an image that is gone after the test. */
  async build(engine: EngineUser, name: string, top: string): Promise<BuiltImage> {
    await changeTopLayer(join(this.folder, "context"), top);
    await engine.build(join(this.folder, "context"), name);
    return await removedAfterwards(engine, name);
  }

  /** Somebody who has never used Lading before. */
  async newcomer(engine: Pick<EngineUser, "env"> | null): Promise<Workplace> {
    const workplace = await Workplace.create(engine, this.registry.url);
    onTestFinished(() => workplace.remove());
    return workplace;
  }

  async close(): Promise<void> {
    for (const engine of this.#engines.values()) await engine.stop();
    await this.registry.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Sees to it that an image is gone after the test, and tells of it. */
export async function removedAfterwards(engine: EngineUser, name: string): Promise<BuiltImage> {
  onTestFinished(async () => {
    if ((await engine.id(name)) !== null) await engine.remove(name);
  });
  const id = await engine.id(name);
  if (id === null) throw new Error(`${name} is not there`);
  const { RootFS } = (await engine.inspect(name)) as { readonly RootFS: { readonly Layers: readonly string[] } };
  return { id, layers: RootFS.Layers.length };
}
