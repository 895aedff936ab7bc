import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { createRegistry, type Listening, listen, type Registry } from "../../src/server/index.js";
import { output, suiteName } from "../support/programs.js";
import { randomImage } from "../support/random-image.js";
import { type LayoutImage, type Peer, type PeerKind, peers } from "./peers.js";

// Everybody's client against a registry with accounts: each logs in, pushes, pulls and deletes as its account may, and no more.

const people = ["reader", "writer", "deleter", "stranger"] as const;
const passwordOf = (user: string) => `${user}-has-a-password`;

/** The command line, as it is shipped, with a store of its own. */
async function startLading(): Promise<Peer> {
  const home = await mkdtemp(join(tmpdir(), "lading-peer-"));
  const env = {
    HOME: home,
    LADING_ENGINE: "store",
    DOCKER_CONFIG: join(home, "docker"),
    XDG_DATA_HOME: "",
    LADING_STORE: "",
  };
  const lading = (args: readonly string[], input = "") =>
    output(process.execPath, [inject("program"), ...args, "--quiet"], { env, input });
  return {
    push: async ({ folder }, reference) => {
      const name = await lading(["load", folder, "--force"]);
      return (await lading(["push", name.split("\n")[0] ?? "", reference])).split("@").at(-1) ?? null;
    },
    digest: (reference) => lading(["digest", reference]),
    pull: async (reference) => {
      await lading(["pull", reference, "pulled:1"]);
    },
    login: async (host, username, password) => {
      await lading(["login", host, "-u", username, "--password-stdin"], password);
    },
    remove: async (reference) => {
      await lading(["rm", reference, "--yes"]);
    },
    close: () => rm(home, { recursive: true, force: true }),
  };
}

const lading: PeerKind = {
  ...{ name: "lading", indexes: true, carries: true },
  available: () => Promise.resolve(null),
  start: startLading,
};
const kinds = await Promise.all([...peers, lading].map(async (kind) => ({ kind, reason: await kind.available() })));

/** Where the clients of this file keep what they are told, and not where this machine's user does. */
const variables = ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "REGCTL_CONFIG"] as const;
const before = variables.map((name) => process.env[name]);

let folder = "";
let image: LayoutImage;
let registry: Registry;
let server: Listening;
let host = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-accounts-"));
  const store = LayoutStore.open(join(folder, "image"));
  const { root } = await randomImage(store, { seed: "accounts", layers: 2, format: "oci" });
  const name = "docker.io/library/accounts:1";
  await store.tag(root, name);
  image = { folder: join(folder, "image"), name, digest: root.digest, index: false };
  registry = createRegistry({ storage: { directory: join(folder, "registry") }, accounts: true });
  const { users, orgs } = await registry.accounts();
  for (const user of people) await users.add({ name: user, password: passwordOf(user) });
  await orgs.add({ name: "acme" });
  await orgs.set("acme", {
    members: [
      { user: "reader", role: "read" },
      { user: "writer", role: "write" },
      { user: "deleter", role: "delete" },
    ],
  });
  server = await listen(registry, { host: "127.0.0.1", port: 0 });
  host = `127.0.0.1:${new URL(server.url).port}`;
});
afterAll(async () => {
  await server?.close();
  await registry?.close();
  await rm(folder, { recursive: true, force: true });
});

describe("a registry with accounts", () => {
  for (const [at, { kind, reason }] of kinds.entries()) {
    it.skipIf(reason !== null)(suiteName(`lets ${kind.name} in, as far as each account may go`, reason), async () => {
      const own = join(folder, `client-${at}`);
      await mkdir(own);
      process.env.DOCKER_CONFIG = own;
      process.env.REGISTRY_AUTH_FILE = join(own, "auth.json");
      process.env.REGCTL_CONFIG = join(own, "regctl.json");
      const peer = await kind.start();
      const reference = `${host}/acme/client-${at}:1`;
      const login = (user: string) => peer.login(host, user, passwordOf(user));
      try {
        // crane looks at what it is given only when it needs it
        const wrong = peer.login(host, "writer", "not-the-password").then(() => peer.push(image, reference));
        await expect(wrong).rejects.toThrow();
        await login("writer");
        await peer.push(image, reference);
        const digest = await peer.digest(reference);
        if (kind.carries) expect(digest).toBe(image.digest);
        await peer.pull(reference);
        if (peer.remove !== null) await expect(peer.remove(reference)).rejects.toThrow();

        await login("stranger");
        await expect(peer.pull(reference)).rejects.toThrow();
        await expect(peer.push(image, reference)).rejects.toThrow();
        await peer.push(image, `${host}/stranger/own-${at}:1`);

        await login("reader");
        await peer.pull(reference);
        await expect(peer.push(image, `${host}/acme/client-${at}:2`)).rejects.toThrow();
        if (peer.remove !== null) {
          await expect(peer.remove(reference)).rejects.toThrow();
          await login("deleter");
          await peer.remove(reference);
          await expect(peer.pull(reference)).rejects.toThrow();
        }
      } finally {
        await peer.close();
        for (const [index, name] of variables.entries()) {
          const value = before[index];
          if (value === undefined) delete process.env[name];
          else process.env[name] = value;
        }
      }
    });
  }
});
