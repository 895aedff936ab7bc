import type { ChildProcess } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import type { WireRequest } from "../../src/oci/wire.js";
import { createRegistry, type Listening, listen, type Registry } from "../../src/server/index.js";
import { validateImage } from "../support/validate-image.js";
import { Machine } from "./machine.js";

// A killed client loses nothing: whatever was complete stays, nothing half is visible, and the next run finishes.
// The moments are lines of its own progress, so that each run dies somewhere else in the transfer.

let machine: Machine;
let registry: Registry;
let listening: Listening;
let requests: WireRequest[];
beforeEach(async () => {
  machine = await Machine.create();
  registry = createRegistry({ storage: "memory" });
  requests = [];
  const handle = (request: WireRequest) => {
    requests.push(request);
    return registry.handle(request);
  };
  listening = await listen({ handle }, { port: 0 });
});
afterEach(async () => {
  await listening.close(0);
  await registry.close();
  await machine.remove();
});

/** Kills the child once it has written this many lines of progress. */
function killAfter(lines: number): (child: ChildProcess) => void {
  return (child) => {
    let seen = 0;
    child.stderr?.on("data", (chunk: Buffer) => {
      seen += chunk.toString().split("\n").length - 1;
      if (seen >= lines) child.kill("SIGKILL");
    });
  };
}

/** Runs a verb again and again, each time killed a little later, until one run ends by itself. */
async function untilDone(args: readonly string[], afterKill: () => Promise<void>): Promise<number> {
  for (let kills = 0; ; kills += 1) {
    const onStart = killAfter(1 + kills * 2);
    const outcome = await machine.lading([...args, "--progress", "json"], {
      env: { LADING_REGISTRY_URL: listening.url },
      onStart,
    });
    if (outcome.code === 0) return kills;
    expect(outcome).toMatchObject({ code: null });
    await afterKill();
  }
}

/** The blobs that some run has asked to be committed and that the registry has. */
async function pushedBlobs(): Promise<ReadonlySet<string>> {
  const asked = new Set(
    requests.flatMap(({ url }) => /[?&]digest=([^&]+)/.exec(url)?.[1] ?? []).map(decodeURIComponent),
  );
  const there = new Set<string>();
  for (const digest of asked) {
    const { status } = await registry.handle({ method: "HEAD", url: `/v2/alice/app/blobs/${digest}`, headers: {} });
    if (status === 200) there.add(digest);
  }
  return there;
}

async function tagged(): Promise<boolean> {
  const { status } = await registry.handle({ method: "HEAD", url: "/v2/alice/app/manifests/1", headers: {} });
  return status === 200;
}

describe("a client that is killed", () => {
  it("in a push: the tag comes last, and no blob that was complete is sent again", async () => {
    const digest = await machine.putImage("app:1", { layers: 5, layerSize: 2_000_000 });
    const complete = new Map<string, number>();
    const kills = await untilDone(["push", "app:1"], async () => {
      for (const blob of await pushedBlobs()) if (!complete.has(blob)) complete.set(blob, requests.length);
      if (await tagged()) expect((await machine.lading(["digest", "image:app:1"], env())).stdout).toBe(`${digest}\n`);
    });
    expect(kills).toBeGreaterThan(2);
    expect((await machine.lading(["digest", "image:app:1"], env())).stdout).toBe(`${digest}\n`);
    expect((await pushedBlobs()).size).toBe(6);
    // What the registry had at a kill was not uploaded in any run after it.
    expect(complete.size).toBeGreaterThan(0);
    for (const [blob, since] of complete) {
      expect(
        requests.slice(since).filter(({ method, url }) => method === "PUT" && url.includes(blob.slice(7))),
      ).toEqual([]);
    }
  });

  it("in a pull: no name before the image is whole, no blob that is not what it is called", async () => {
    const digest = await machine.putImage("app:1", { layers: 5, layerSize: 2_000_000 });
    expect(await machine.lading(["push", "app:1"], env())).toMatchObject({ code: 0 });
    const other = await Machine.create();
    const store = new LayoutStore(join(other.home, ".local", "share", "lading", "store"));
    const first = machine;
    machine = other;
    try {
      requests.length = 0;
      const complete = new Map<string, number>();
      const kills = await untilDone(["pull", "image:app:1"], async () => {
        for (const blob of await onlyWholeBlobs(store.directory)) {
          if (!complete.has(blob)) complete.set(blob, requests.length);
        }
        const root = await store.resolve("app:1");
        if (root !== null) await validateImage(store, root);
      });
      expect(kills).toBeGreaterThan(1);
      const root = await store.resolve("app:1");
      expect(root?.digest).toBe(digest);
      if (root !== null) await validateImage(store, root);
      await onlyWholeBlobs(store.directory);
      // What was whole at a kill was not fetched in any run after it.
      expect(complete.size).toBeGreaterThan(0);
      for (const [blob, since] of complete) {
        const again = requests
          .slice(since)
          .filter(({ method, url }) => method === "GET" && url.includes(blob.slice(7)));
        expect(again).toEqual([]);
      }
    } finally {
      await first.remove();
    }
  });
});

function env(): { readonly env: Record<string, string> } {
  return { env: { LADING_REGISTRY_URL: listening.url } };
}

/** Whatever is visible under `blobs/` is what its name says. */
async function onlyWholeBlobs(directory: string): Promise<readonly Digest[]> {
  const folder = join(directory, "blobs", "sha256");
  const names = await readdir(folder).catch(() => []);
  return await Promise.all(
    names.map(async (name) => {
      const found: Digest = digestOf(await readFile(join(folder, name)));
      expect(found).toBe(`sha256:${name}`);
      return found;
    }),
  );
}
