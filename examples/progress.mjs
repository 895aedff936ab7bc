// Three ways to follow a transfer: an object with methods, a function, and a stream of events; and how to stop one.
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLadingError, openClient, progressEvents } from "lading";
import { createRegistry } from "lading/registry";

const folder = await mkdtemp(join(tmpdir(), "lading-example-"));
await mkdir(join(folder, "rootfs"));
await writeFile(join(folder, "rootfs", "data.bin"), randomBytes(8 * 1024 * 1024));

const registry = createRegistry({ storage: "memory" });
const client = await openClient({
  config: {
    clusters: { main: { registryUrl: "http://localhost:5050", registry } },
    cluster: "main",
    owner: "alice",
  },
  engine: "store",
  storePath: join(folder, "store"),
});
try {
  const local = client.parse.localImage("data:1");
  await client.local.import(join(folder, "rootfs"), local);

  // 1. An object with some of the methods push, pull and step.
  const steps = new Map();
  const remote = await client.images.push(local, null, {
    progress: {
      push: ({ src, dst }) => console.log(`${src} -> ${dst}`),
      step: ({ layerId, status }) => steps.set(layerId, status),
    },
  });
  for (const [layer, status] of steps) console.log(layer.slice(0, 19), status);

  // 2. A function of the union of them.
  let last = null;
  await client.images.push(local, client.parse.remoteImage("image:data:2"), {
    progress: (event) => {
      if (event.type === "step") last = event.status;
    },
  });
  console.log("the second push ended with:", last);

  // 3. A stream: read it while the transfer runs.
  const events = progressEvents();
  const pulled = client.images.pull(remote, client.parse.localImage("copy:1"), { progress: events });
  for await (const event of events) if (event.type === "pull") console.log(`${event.src} -> ${event.dst}`);
  await pulled;

  // Any signal stops a call; what can be resumed is kept.
  try {
    await client.images.pull(remote, client.parse.localImage("never:1"), {
      signal: AbortSignal.abort("no longer wanted"),
    });
  } catch (error) {
    if (!isLadingError(error)) throw error;
    console.log("stopped:", error.code);
  }
} finally {
  await client.close();
  await registry.close();
  await rm(folder, { recursive: true, force: true });
}
