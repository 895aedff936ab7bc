import { createRegistry, listen } from "../../src/server/index.js";

/** A registry on a port of this machine, over plain HTTP. */
export interface RunningRegistry {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  close(): Promise<void>;
}

/** The embedded registry on a free port, in memory or in a folder. */
export async function startOwnRegistry(storage: "memory" | { readonly directory: string }): Promise<RunningRegistry> {
  const registry = createRegistry({ storage });
  const server = await listen(registry, { host: "127.0.0.1", port: 0 });
  return {
    url: `http://127.0.0.1:${new URL(server.url).port}`,
    async close() {
      await server.close();
      await registry.close();
    },
  };
}
