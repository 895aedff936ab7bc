import { afterEach } from "vitest";
import type { RegistryClientOptions } from "../../src/registry/client.js";
import { type Canary, startCanary } from "../support/canary.js";
import { testClient } from "../support/registry-client.js";
import { type Handler, type ScriptedRegistry, startScriptedRegistry } from "../support/scripted-registry.js";

/** What the tests of a file set up; all of it ends with each test. */
export interface Stage {
  registry(...handlers: Handler[]): Promise<ScriptedRegistry>;
  canary(address?: string, port?: number): Promise<Canary>;
  client(url: string, options?: Partial<RegistryClientOptions>): ReturnType<typeof testClient>;
  /** Something else that is to be closed. */
  keep<Thing extends { close(): unknown }>(thing: Thing): Thing;
}

/** To be called once in a file. */
export function useStage(): Stage {
  const closers: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
  const keep = <Thing extends { close(): unknown }>(thing: Thing): Thing => {
    closers.push(() => thing.close());
    return thing;
  };
  return {
    keep,
    registry: async (...handlers) => keep(await startScriptedRegistry(...handlers)),
    canary: async (...where) => keep(await startCanary(...where)),
    client: (...options) => {
      const made = testClient(...options);
      keep(made.client);
      return made;
    },
  };
}

/** What a user knows, and nobody else shall. */
export const secrets = { username: "carol", password: "canary-7f3a-secret" } as const;

/** `Authorization: Basic` of the {@link secrets}. */
export const basic = `Basic ${Buffer.from(`${secrets.username}:${secrets.password}`).toString("base64")}`;
