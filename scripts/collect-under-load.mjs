// Collections under load: clients push, pull and delete images that share layers over HTTP, while collection follows on collection
// from another process, with a grace of some seconds. No request may fail, and what is pushed must be whole.
//   node scripts/collect-under-load.mjs --seconds 600 --clients 6 --seed 7
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { prepare, root } from "./prepare.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "600" },
    clients: { type: "string", default: "6" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
  },
});
const [seconds, clients, seed] = [Number(values.seconds), Number(values.clients), values.seed];
/** Longer than any push takes, short enough that everything is collected many times, in ms. */
const grace = 20_000;
const lading = join(root, "dist", "bin", "lading.js");
prepare();
const { createRegistry } = await import(join(root, "dist", "server", "index.js"));

const sha256 = (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
/** Random numbers that seed and name decide. */
function randomOf(name) {
  let count = 0;
  return () => createHash("sha256").update(`${seed}/${name}/${count++}`).digest().readUInt32BE() / 2 ** 32;
}
/** Layers that many images share: they are forgotten, collected, and pushed again. */
const layers = Array.from({ length: 24 }, (_, index) =>
  Buffer.alloc(20_000 + index * 3000, createHash("sha256").update(`${seed}/${index}`).digest("hex")),
);

const folder = await mkdtemp(join(tmpdir(), "lading-load-"));
const data = join(folder, "data");
const server = spawn(process.execPath, [lading, "serve", "--data", data, "--port", "0", "--gc-interval", "0"], {
  stdio: ["ignore", "pipe", "inherit"],
});
const ended = new Promise((resolve) => server.on("close", resolve));
const counts = { pushes: 0, pulls: 0, deletes: 0, requests: 0, mounts: 0, collections: 0, removedBlobs: 0, freed: 0 };
try {
  const url = await new Promise((resolve, reject) => {
    server.stdout.setEncoding("utf8").once("data", (text) => resolve(text.trim()));
    server.on("close", (status) => reject(new Error(`lading serve ended with ${status}`)));
  });
  const until = performance.now() + seconds * 1000;
  const send = async (allowed, method, path, body = null, headers = {}) => {
    const response = await fetch(new URL(path, url), { method, body, headers });
    const bytes = Buffer.from(await response.arrayBuffer());
    counts.requests += 1;
    if (!allowed.includes(response.status)) throw new Error(`${method} ${path}: ${response.status} ${bytes}`);
    return { status: response.status, headers: response.headers, bytes };
  };
  const blob = async (repository, bytes, random) => {
    const digest = sha256(bytes);
    const { status } = await send([200, 404], "HEAD", `/v2/${repository}/blobs/${digest}`);
    if (status === 200) return { digest, size: bytes.length };
    const query = random() < 0.5 ? `mount=${digest}&from=load/${Math.floor(random() * clients)}` : "";
    const begun = await send([201, 202], "POST", `/v2/${repository}/blobs/uploads/?${query}`);
    if (begun.status === 201) counts.mounts += 1;
    else await send([201], "PUT", `${begun.headers.get("location")}?digest=${digest}`, bytes);
    return { digest, size: bytes.length };
  };
  const client = async (number) => {
    const random = randomOf(`client ${number}`);
    const repository = `load/${number}`;
    const pushed = [];
    for (let round = 0; performance.now() < until; round += 1) {
      const chosen = Array.from({ length: 3 }, () => layers[Math.floor(random() * layers.length)]);
      const config = Buffer.from(JSON.stringify({ number, round }));
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          config: {
            mediaType: "application/vnd.oci.image.config.v1+json",
            ...(await blob(repository, config, random)),
          },
          layers: await Promise.all(
            chosen.map(async (bytes) => ({
              mediaType: "application/vnd.oci.image.layer.v1.tar",
              ...(await blob(repository, bytes, random)),
            })),
          ),
        }),
      );
      const type = { "content-type": "application/vnd.oci.image.manifest.v1+json" };
      await send([201], "PUT", `/v2/${repository}/manifests/r${round}`, manifest, type);
      counts.pushes += 1;
      pushed.push({ tag: `r${round}`, digest: sha256(manifest), parts: [config, ...chosen] });
      const seen = pushed[Math.floor(random() * pushed.length)];
      const got = await send([200], "GET", `/v2/${repository}/manifests/${seen.tag}`);
      if (sha256(got.bytes) !== seen.digest) throw new Error(`${repository}:${seen.tag} is another`);
      for (const part of seen.parts) {
        const read = await send([200], "GET", `/v2/${repository}/blobs/${sha256(part)}`);
        if (!read.bytes.equals(part)) throw new Error(`a blob of ${repository}:${seen.tag} is another`);
      }
      counts.pulls += 1;
      // few stay, so that much is forgotten
      while (pushed.length > 3) {
        const [gone] = pushed.splice(Math.floor(random() * pushed.length), 1);
        await send([202], "DELETE", `/v2/${repository}/manifests/${gone.digest}`);
        counts.deletes += 1;
      }
    }
  };
  const collecting = async () => {
    const registry = createRegistry({ storage: { directory: data } });
    while (performance.now() < until) {
      const { blobs, errors } = await registry.upkeep.collect({ grace });
      if (errors.length > 0) throw new Error(`a collection could not read everything: ${JSON.stringify(errors)}`);
      counts.collections += 1;
      counts.removedBlobs += blobs.removed;
      counts.freed += blobs.removedBytes;
      await sleep(500);
    }
    const report = await registry.upkeep.check();
    if (!report.ok) throw new Error(`the check at the end: ${JSON.stringify(report.problems)}`);
    await registry.close();
  };
  await send([200], "GET", "/v2/");
  process.stdout.write(`seed ${seed}, ${clients} clients, ${seconds} s, grace ${grace / 1000} s\n`);
  // a collection needs a registry that is there
  await blob("load/0", layers[0], randomOf("first"));
  await Promise.all([...Array.from({ length: clients }, (_, number) => client(number)), collecting()]);
  process.stdout.write(`no request failed: ${JSON.stringify(counts)}\n`);
} catch (error) {
  process.exitCode = 1;
  process.stdout.write(`FAILED (seed ${seed}): ${error.stack}\n${JSON.stringify(counts)}\n`);
} finally {
  server.kill("SIGTERM");
  await ended;
  await rm(folder, { recursive: true, force: true });
}
