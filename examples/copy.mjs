// Copies an image from one registry to another. No engine is involved and nothing is unpacked: the bytes go across as they
// are, so the digest stays what it was.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openClient } from "lading";
import { createRegistry } from "lading/registry";

const folder = await mkdtemp(join(tmpdir(), "lading-example-"));
await mkdir(join(folder, "rootfs"));
await writeFile(join(folder, "rootfs", "model.txt"), "weights\n");

const [staging, production] = [createRegistry({ storage: "memory" }), createRegistry({ storage: "memory" })];
const client = await openClient({
  config: {
    clusters: {
      staging: { registryUrl: "https://staging.example", registry: staging },
      production: { registryUrl: "https://production.example", registry: production },
    },
    cluster: "staging",
    owner: "alice",
  },
  engine: "store",
  storePath: join(folder, "store"),
});
try {
  const local = client.parse.localImage("model:1");
  await client.local.import(join(folder, "rootfs"), local);
  const source = await client.images.push(local);

  const destination = client.parse.remoteImage("image://production/alice/model:1");
  await client.images.copy(source, destination);
  const [before, after] = [await client.images.digest(source), await client.images.digest(destination)];
  console.log(
    String(source),
    "->",
    String(destination),
    before === after ? "with the same digest" : "with another digest!",
  );
  if (before !== after) process.exitCode = 1;
} finally {
  await client.close();
  await Promise.all([staging.close(), production.close()]);
  await rm(folder, { recursive: true, force: true });
}
