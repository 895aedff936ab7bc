import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, openClient } from "../../src/index.js";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { findProgram, missingPrograms, suiteName } from "../support/programs.js";
import { randomImage } from "../support/random-image.js";

// The SDK whose reference Lading implements, against our registry: both have to see the same.

const script = fileURLToPath(new URL("original-sdk.py", import.meta.url));
const reason = missingPrograms(["neuro-python"]);

/** The part of the platform's API that the SDK asks when it logs in: one cluster, whose registry is ours. */
async function startPlatform(registryUrl: string): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    if (request.url !== "/api/v1/config") return void response.writeHead(404).end();
    const elsewhere = "http://platform.invalid";
    const names = [
      "auth",
      "token",
      "logout",
      "headless_callback",
      "storage",
      "users",
      "monitoring",
      "secrets",
      "disks",
    ];
    const urls = Object.fromEntries([...names, "buckets"].map((name) => [`${name}_url`, `${elsewhere}/${name}`]));
    const cluster = { ...urls, name: "main", registry_url: registryUrl, orgs: [null], resource_presets: [] };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ ...urls, client_id: "sdk", audience: "sdk", authorized: true, clusters: [cluster] }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { url: `http://127.0.0.1:${address.port}/api/v1`, server };
}

/** A token as the SDK reads it: who it is for, signed by nobody. */
function tokenFor(user: string): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return [part({ alg: "HS256", typ: "JWT" }), part({ identity: user }), "c2lnbmF0dXJl"].join(".");
}

interface Answer {
  readonly result?: unknown;
  readonly error?: string;
}

describe.skipIf(reason !== null)(suiteName("the original SDK", reason), () => {
  let folder = "";
  let registry: RunningRegistry;
  let platform: Server;
  let client: Client;
  let sdk: ChildProcess;
  let answers: AsyncIterator<string>;
  let log = "";

  const ask = async (request: Readonly<Record<string, string>>): Promise<Answer> => {
    sdk.stdin?.write(`${JSON.stringify(request)}\n`);
    const { done, value } = await answers.next();
    if (done === true) throw new Error(`the SDK ended\n${log}`);
    return JSON.parse(value) as Answer;
  };

  const pushed = async (name: string, format: "docker" | "oci", tags: readonly string[]) => {
    const store = LayoutStore.open(join(folder, "store"));
    const image = await randomImage(store, { seed: name, format, layers: 3 });
    await store.tag(image.root, `${name}:${tags[0]}`);
    const local = client.parse.localImage(`${name}:${tags[0]}`);
    return await client.images.pushDetailed(local, null, { tags: tags.slice(1) });
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "lading-original-sdk-"));
    registry = await startOwnRegistry("memory");
    const started = await startPlatform(registry.url);
    platform = started.server;
    client = await openClient({
      config: { clusters: { main: { registryUrl: registry.url } }, cluster: "main", owner: "alice" },
      engine: "store",
      storePath: join(folder, "store"),
      env: {},
    });
    const python = findProgram("neuro-python") ?? "";
    sdk = spawn(python, [script, started.url, tokenFor("alice"), join(folder, "neuro")], { stdio: "pipe" });
    sdk.stderr?.setEncoding("utf8").on("data", (text: string) => {
      log += text;
    });
    if (sdk.stdout === null) throw new Error("no output");
    answers = createInterface({ input: sdk.stdout })[Symbol.asyncIterator]();
  });

  afterAll(async () => {
    if (sdk !== undefined && sdk.exitCode === null) {
      const ended = once(sdk, "close");
      sdk.stdin?.end();
      await ended;
    }
    await client?.close();
    platform?.closeAllConnections();
    platform?.close();
    await registry?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("list: sees the repositories that Lading pushed, over several pages", async () => {
    // It asks for pages of 30.
    const names = Array.from({ length: 32 }, (_, index) => `listed-${String(index).padStart(2, "0")}`);
    for (const name of names) await pushed(name, "docker", ["1"]);
    const { result } = await ask({ method: "list" });
    expect(result).toEqual(expect.arrayContaining(names.map((name) => `image://main/alice/${name}`)));
    expect(result).toEqual((await client.images.list()).map(String));
  });

  it("tags: sees every tag, over several pages", async () => {
    const tags = Array.from({ length: 35 }, (_, index) => `v${index}`);
    await pushed("tagged", "docker", tags);
    const { result } = await ask({ method: "tags", image: "image:tagged" });
    expect(new Set(result as string[])).toEqual(new Set(tags.map((tag) => `image://main/alice/tagged:${tag}`)));
    const ours = await client.images.tags(client.parse.remoteImage("image:tagged", { tagOption: "deny" }));
    expect(new Set(ours.map(String))).toEqual(new Set(result as string[]));
  });

  it.each(["docker", "oci"] as const)("size, tag_info and digest: the same numbers (%s)", async (format) => {
    const { digest } = await pushed(`sized-${format}`, format, ["1"]);
    const image = `image:sized-${format}:1`;
    const remote = client.parse.remoteImage(image);
    expect(await ask({ method: "digest", image })).toEqual({ result: digest });
    expect(await ask({ method: "size", image })).toEqual({ result: await client.images.size(remote) });
    const { name, size } = await client.images.tagInfo(remote);
    expect(await ask({ method: "tag_info", image })).toEqual({ result: { name, size } });
  });

  it("rm: deletes by digest, with the tags", async () => {
    const { digest, remote } = await pushed("removed", "docker", ["1", "2"]);
    expect(await ask({ method: "rm", image: "image:removed", digest })).toEqual({ result: null });
    await expect(client.images.digest(remote)).rejects.toMatchObject({ code: "not-found" });
    expect((await ask({ method: "digest", image: "image:removed:2" })).error).toBe("ResourceNotFound");
  });
});
