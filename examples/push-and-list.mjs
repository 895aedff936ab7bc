// Makes an image of a folder, pushes it into the registry of a cluster, and looks at what is there.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openClient } from "lading";

const folder = await mkdtemp(join(tmpdir(), "lading-example-"));
await mkdir(join(folder, "rootfs"));
await writeFile(join(folder, "rootfs", "hello.txt"), "hello\n");

// A cluster with a data folder needs no server: the registry runs in this process while it is used. Usually all of
// this is in the configuration file, and `openClient()` is enough.
const client = await openClient({
  config: {
    clusters: { main: { registryUrl: "http://localhost:5050", data: join(folder, "registry") } },
    cluster: "main",
    owner: "alice",
  },
  engine: "store",
  storePath: join(folder, "store"),
});
try {
  const local = client.parse.localImage("hello:1");
  await client.local.import(join(folder, "rootfs"), local);

  const remote = await client.images.push(local);
  console.log("pushed", String(remote), await client.images.digest(remote));

  for (const image of await client.images.list()) {
    for (const tagged of await client.images.tags(image)) {
      console.log("there is", String(tagged), "of", await client.images.size(tagged), "bytes");
    }
  }
} finally {
  await client.close();
  await rm(folder, { recursive: true, force: true });
}
