/** Several processes on one folder, and processes that are killed: what a single process can't show. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Digest, digestOf } from "../oci/digest.js";
import { holderOf } from "./hold.js";
import { createRegistry } from "./registry.js";

/** Pushes images for ever or a number of times, and prints each tag once it is acknowledged. With a folder, blobs are files there that the registry adopts. */
const pusher = `
import { createHash, randomBytes } from "node:crypto";
import { utimesSync, writeFileSync } from "node:fs";
import { createRegistry } from "./registry.mjs";
const [directory, repository, count, folder] = process.argv.slice(2);
const registry = createRegistry({ storage: { directory }, onError: (error) => console.error(error) });
const digestOf = (bytes) => "sha256:" + createHash("sha256").update(bytes).digest("hex");
const send = async (method, url, body, headers = {}) => {
  const response = await registry.handle({ method, url, headers, body });
  for await (const _ of response.body);
  if (response.status !== 201 && response.status !== 202) throw new Error(method + " " + url + " " + response.status);
  return response;
};
const blob = async (bytes) => {
  const digest = digestOf(bytes);
  if (folder) {
    const path = folder + "/" + randomBytes(8).toString("hex");
    writeFileSync(path, bytes, { mode: 0o444 });
    utimesSync(path, 1e9, 1e9);
    const descriptor = { mediaType: "application/octet-stream", digest, size: bytes.length };
    if (!(await registry.adoptBlob({ repository, descriptor, path }))) throw new Error("not adopted");
    return { digest, size: bytes.length };
  }
  const { headers } = await send("POST", "/v2/" + repository + "/blobs/uploads/", null);
  await send("PATCH", headers.location, bytes);
  await send("PUT", headers.location + "?digest=" + digest, null);
  return { digest, size: bytes.length };
};
for (let round = 0; round < Number(count); round++) {
  const tag = "v" + round;
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", ...(await blob(Buffer.from("{}"))) };
  const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar", ...(await blob(randomBytes(200_000))) };
  const manifest = JSON.stringify({ schemaVersion: 2, config, layers: [layer] });
  const type = "application/vnd.oci.image.manifest.v1+json";
  await send("PUT", "/v2/" + repository + "/manifests/" + tag, Buffer.from(manifest), { "content-type": type });
  process.stdout.write(tag + " " + digestOf(manifest) + "\\n");
}
await registry.close();
`;

/** Serves a folder until it is killed; prints its URL. */
const server = `
import { createRegistry, holdFolder, listen } from "./registry.mjs";
const directory = process.argv[2];
const registry = createRegistry({ storage: { directory }, onError: (error) => console.error(error) });
const listening = await listen(registry, { port: 0 });
await holdFolder(directory, { url: listening.url });
process.stdout.write(listening.url + "\\n");
`;

let programs: string;
let directory: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  programs = await mkdtemp(join(tmpdir(), "lading-programs-"));
  await build({
    entryPoints: [join(dirname(fileURLToPath(import.meta.url)), "index.ts")],
    outfile: join(programs, "registry.mjs"),
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
  });
  await writeFile(join(programs, "pusher.mjs"), pusher);
  await writeFile(join(programs, "server.mjs"), server);
});
afterAll(async () => {
  await rm(programs, { recursive: true, force: true });
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-processes-"));
});
afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
  await rm(directory, { recursive: true, force: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly ended: Promise<number | null>;
  readonly errors: () => string;
}

function start(program: string, ...parameters: readonly string[]): Running {
  const child = spawn(process.execPath, [join(programs, program), ...parameters], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  const lines: string[] = [];
  let rest = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, lines, ended, errors: () => errors };
}

/** Every blob hashes to its name, every tag leads to content that is all there, and what was acknowledged is there. */
async function expectWhole(acknowledged: ReadonlyMap<string, readonly string[]>): Promise<void> {
  for (const file of await readdir(join(directory, "blobs"), { recursive: true, withFileTypes: true })) {
    if (file.isFile()) expect(digestOf(await readFile(join(file.parentPath, file.name)))).toBe(`sha256:${file.name}`);
  }
  const registry = createRegistry({ storage: { directory } });
  const get = async (url: string): Promise<{ status: number; body: Buffer }> => {
    const response = await registry.handle({ method: "GET", url, headers: {} });
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    return { status: response.status, body: Buffer.concat(chunks) };
  };
  for (const [repository, lines] of acknowledged) {
    for (const line of lines) {
      const [tag = "", digest] = line.split(" ");
      expect(digestOf((await get(`/v2/${repository}/manifests/${tag}`)).body)).toBe(digest);
    }
    const listed = await get(`/v2/${repository}/tags/list`);
    const tags: readonly string[] = listed.status === 200 ? JSON.parse(listed.body.toString()).tags : [];
    for (const tag of tags) {
      const manifest = JSON.parse((await get(`/v2/${repository}/manifests/${tag}`)).body.toString());
      for (const { digest } of [manifest.config, ...manifest.layers] as { digest: Digest }[]) {
        const blob = await get(`/v2/${repository}/blobs/${digest}`);
        expect([blob.status, digestOf(blob.body)]).toEqual([200, digest]);
      }
    }
  }
  await registry.close();
}

describe("several processes on one folder", () => {
  it("push at once into one that was not there, and all succeed", async () => {
    const repositories = ["a", "b", "a/b", "same", "same", "c", "d", "e"];
    const pushers = repositories.map((repository) => start("pusher.mjs", directory, repository, "3"));
    const codes = await Promise.all(pushers.map(({ ended }) => ended));
    expect([codes, pushers.map(({ errors }) => errors()).join("")]).toEqual([repositories.map(() => 0), ""]);
    const alone = repositories.flatMap((name, index) =>
      name === "same" ? [] : [[name, pushers[index]?.lines ?? []] as const],
    );
    expect(alone.map(([, lines]) => lines.length)).toEqual(alone.map(() => 3));
    await expectWhole(new Map([...alone, ["same", []]]));
    expect((await readdir(directory)).sort()).toEqual(["blobs", "lading-registry.json", "meta", "repos", "tmp"]);
  });

  it("that are killed at any moment leave whole images, and nobody waits for them", async () => {
    const acknowledged = new Map<string, readonly string[]>();
    const files = await mkdtemp(join(programs, "files-"));
    for (let round = 0; round < 6; round++) {
      // every other one adopts what it pushes
      const running = start("pusher.mjs", directory, `r${round}`, "1000", ...(round % 2 === 0 ? [] : [files]));
      await expect.poll(() => running.lines.length, { timeout: 20_000, interval: 7 }).toBeGreaterThan(round);
      running.child.kill("SIGKILL");
      await running.ended;
      expect(running.errors()).toBe("");
      acknowledged.set(`r${round}`, running.lines);
    }
    const after = start("pusher.mjs", directory, "after", "1");
    expect([await after.ended, after.errors()]).toEqual([0, ""]);
    await expectWhole(acknowledged.set("after", after.lines));
  });
});

describe("a server that is killed in the middle of an upload", () => {
  it("gives the folder up, and the next one goes on with the upload", async () => {
    const first = start("server.mjs", directory);
    await expect.poll(() => first.lines[0], { timeout: 20_000 }).toBeDefined();
    const url = first.lines[0] ?? "";
    expect(await holderOf(directory)).toMatchObject({ pid: first.child.pid, url });
    const second = start("server.mjs", directory);
    expect(await second.ended).toBe(1);
    expect(second.errors()).toMatch(/conflict/);

    const begun = await fetch(`${url}/v2/a/blobs/uploads/`, { method: "POST" });
    const location = begun.headers.get("location") ?? "";
    const content = Buffer.alloc(3_000_000, "content");
    const sent = content.subarray(0, 2_000_000);
    // all but what the storage gathers before it writes
    const stored = sent.length - 1024 * 1024;
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${content.length}\r\n\r\n`);
    socket.write(sent);
    const position = async (base: string): Promise<number> => {
      const response = await fetch(`${base}${location}`);
      return Number(response.headers.get("range")?.split("-")[1]) + 1;
    };
    await expect.poll(() => position(url), { timeout: 20_000 }).toBeGreaterThanOrEqual(stored);
    first.child.kill("SIGKILL");
    await first.ended;
    socket.destroy();
    expect(await holderOf(directory)).toBeNull();

    const third = start("server.mjs", directory);
    await expect.poll(() => third.lines[0], { timeout: 20_000 }).toBeDefined();
    const again = third.lines[0] ?? "";
    const at = await position(again);
    expect(at).toBeGreaterThanOrEqual(stored);
    const rest = content.subarray(at);
    const put = await fetch(`${again}${location}?digest=${digestOf(content)}`, {
      method: "PUT",
      headers: { "content-range": `${at}-${content.length - 1}` },
      body: rest,
    });
    expect(put.status).toBe(201);
    const got = await fetch(`${again}${put.headers.get("location")}`);
    expect(digestOf(Buffer.from(await got.arrayBuffer()))).toBe(digestOf(content));
  });
});
