import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { expect } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { output } from "../support/programs.js";

/** An OCI layout out of an engine's archive, every file of which is what its name says. */
export interface SavedLayout {
  readonly store: LayoutStore;
  readonly roots: readonly Descriptor[];
}

/** Unpacks an OCI archive and checks that each of its blobs has the digest that it is named by. */
export async function openSavedLayout(archive: string, folder: string): Promise<SavedLayout> {
  await unpack(archive, folder);
  const blobs = join(folder, "blobs", "sha256");
  for (const name of await readdir(blobs)) expect(await sha256(join(blobs, name)), name).toBe(name);
  const index = JSON.parse(await readFile(join(folder, "index.json"), "utf8")) as {
    readonly manifests: readonly Descriptor[];
  };
  return { store: LayoutStore.open(folder), roots: index.manifests };
}

/** Unpacks a docker-archive of one image, checks that its layers are those of its config, and gives the config's digest. */
export async function checkDockerArchive(archive: string, folder: string): Promise<string> {
  await unpack(archive, folder);
  const manifests = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as readonly {
    readonly Config: string;
    readonly Layers: readonly string[];
  }[];
  const [manifest] = manifests;
  if (manifest === undefined || manifests.length > 1) throw new Error(`${manifests.length} images in ${archive}`);
  const config = JSON.parse(await readFile(join(folder, manifest.Config), "utf8")) as {
    readonly rootfs: { readonly diff_ids: readonly string[] };
  };
  const layers = await Promise.all(manifest.Layers.map((layer) => sha256(join(folder, layer))));
  expect(layers.map((hex) => `sha256:${hex}`)).toEqual(config.rootfs.diff_ids);
  return `sha256:${await sha256(join(folder, manifest.Config))}`;
}

async function unpack(archive: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await output("tar", ["-xf", archive, "-C", folder]);
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
