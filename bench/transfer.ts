import { join } from "node:path";
import { type Client, type Remote, tag } from "./clients.js";
import type { BenchImage } from "./image-shelf.js";
import { type MeasureOptions, measure, type Sample } from "./measure.js";
import { type BenchRegistry, type RegistryKind, type RegistryOptions, withRegistry } from "./registry.js";
import { type Arrival, wholeInLayout, wholeInRegistry } from "./whole.js";
import type { World } from "./world.js";

/** Where every image goes. */
export const path = "bench/app";

export const arrivalOf = (image: BenchImage): Arrival => ({ digest: image.digest, layers: image.layers });

/** Times a push, and reads what has arrived. */
export async function timePush(
  world: World,
  client: Client,
  image: BenchImage,
  registry: BenchRegistry,
  { remote = registry, ...options }: MeasureOptions & { readonly remote?: Remote } = {},
): Promise<Sample> {
  const command = await client.push(world, image, remote, path);
  await settle();
  const { seconds, cpu, memory } = await measure(command, options);
  await wholeInRegistry(registry, path, tag, arrivalOf(image));
  return { seconds, cpu, memory };
}

/** Times a pull into a folder that is new, and reads what has arrived. */
export async function timePull(
  world: World,
  client: Client,
  image: BenchImage,
  remote: Remote,
  options: MeasureOptions = {},
): Promise<Sample> {
  return await world.withFolder("pulled", async (folder) => {
    const layout = join(folder, "layout");
    const command = await client.pull(world, remote, path, layout);
    await settle();
    const { seconds, cpu, memory } = await measure(command, options);
    await wholeInLayout(layout, arrivalOf(image));
    return { seconds, cpu, memory };
  });
}

/** A push into a registry of its own: nothing of an earlier run is there. */
export async function timeColdPush(
  world: World,
  client: Client,
  image: BenchImage,
  kind: RegistryKind,
  options: RegistryOptions = {},
): Promise<Sample> {
  // What is only made once is not to count.
  if (client.ours) await world.storeOf(image);
  return await withRegistry(world, kind, (registry) => timePush(world, client, image, registry), options);
}

/** Puts an image into a registry with whichever client is at hand. */
export async function fill(world: World, client: Client, image: BenchImage, registry: BenchRegistry): Promise<void> {
  await measure(await client.push(world, image, registry, path));
}

/** What earlier runs wrote goes to the disk first, so that nobody pays for another one's writes. */
export async function settle(): Promise<void> {
  await measure({ program: "sync", args: [] }, { timeOnly: true });
}
