import type { Client } from "../../src/client.js";
import { Parser } from "../../src/image/parser.js";

/** Names as on a machine where nothing is set up but the owner. */
export const fakeParser = new Parser({
  clusters: { local: "http://localhost:5050" },
  cluster: "local",
  owner: "alice",
  org: null,
});

type Method = (...args: never[]) => unknown;

/**
 * A client whose methods are those given, for tests of what is in front of it. The parser is the real one; a method
 * that is not given is missing, and calling it fails the test.
 */
export function fakeClient(methods: {
  readonly images?: Readonly<Record<string, Method>>;
  readonly local?: Readonly<Record<string, Method>>;
  readonly client?: Readonly<Record<string, Method>>;
}): Client {
  const client = {
    parse: fakeParser,
    images: methods.images ?? {},
    local: { detect: async () => ({ kind: "docker", reason: "test", tried: [] }), ...methods.local },
    close: async () => undefined,
    ...methods.client,
  };
  return client as unknown as Client;
}

/** A result as the SDK gives it: an object whose `toJSON` is the value. */
export function resultOf<Json>(json: Json): { toJSON(): Json } {
  return { toJSON: () => json };
}
