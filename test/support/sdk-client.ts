import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, type OpenClientOptions, openClient } from "../../src/index.js";
import { createRegistry, type Registry } from "../../src/server/index.js";

export interface TestBench {
  readonly client: Client;
  /** The store engine's folder, opened beside the client. */
  readonly store: LayoutStore;
  readonly registry: Registry;
  readonly directory: string;
  readonly warnings: string[];
  /** Another client on the same registry and store. */
  open(options?: Partial<OpenClientOptions>): Promise<Client>;
  close(): Promise<void>;
}

/** A client with the store engine in a temporary folder, and a registry in memory as its cluster `main`. */
export async function testBench(options: Partial<OpenClientOptions> = {}): Promise<TestBench> {
  const directory = await mkdtemp(join(tmpdir(), "lading-sdk-"));
  const registry = createRegistry({ storage: "memory" });
  const warnings: string[] = [];
  const storePath = join(directory, "store");
  const clients: Client[] = [];
  const open = async (more: Partial<OpenClientOptions> = {}) => {
    const client = await openClient({
      config: {
        clusters: { main: { registryUrl: "http://localhost:5999", registry } },
        cluster: "main",
        owner: "alice",
      },
      engine: "store",
      storePath,
      env: { HOME: directory },
      onWarning: (text) => warnings.push(text),
      ...options,
      ...more,
    });
    clients.push(client);
    return client;
  };
  return {
    client: await open(),
    store: new LayoutStore(storePath, { durability: "fast" }),
    registry,
    directory,
    warnings,
    open,
    async close() {
      for (const client of clients) await client.close();
      await registry.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** What a promise was rejected with; an error of its own where it was not. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => new Error("the promise was fulfilled"),
    (reason: unknown) => reason,
  );
}
