import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LayoutStore } from "../../src/content/layout.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { randomIndex } from "../support/random-image.js";
import { tarOf } from "../support/tar-bytes.js";
import type { Dice } from "./dice.js";
import { engineIdOf, indexIdOf, type Manifest } from "./manifest.js";

/** An image of the soak, or an index of several: known by the digest of its config, which every engine and registry keeps. */
export interface SoakImage {
  /** `sha256:…` of the config; of an index, what its images are known by. */
  readonly id: string;
  /** The ID that an engine gives it. */
  readonly engineId: string;
  /** Its docker-archive; of an index, its OCI layout. */
  readonly archive: string;
  /** The name in the archive. */
  readonly name: string;
}

interface Layer {
  readonly seed: string;
  readonly size: number;
}

/** Makes images that share layers: each is the top of a few that others have too. */
export class SoakImages {
  readonly #folder: string;
  readonly #dice: Dice;
  readonly #seed: string;
  readonly #layers: Layer[] = [];
  #made = 0;

  constructor(folder: string, seed: string, dice: Dice) {
    this.#folder = folder;
    this.#dice = dice;
    this.#seed = seed;
  }

  /** @param name The name in the archive. */
  async make(name: string): Promise<SoakImage> {
    await mkdir(this.#folder, { recursive: true });
    const number = this.#made++;
    const dice = this.#dice;
    if (dice.chance(0.2)) return await this.#makeIndex(name, number);
    const layers: Layer[] = [];
    const count = dice.integer(1, 5);
    for (let index = 0; index < count; index += 1) {
      const old = this.#layers.length > 0 && dice.chance(0.45) ? dice.pick(this.#layers) : null;
      const layer = old ?? { seed: `${this.#seed}/layer/${this.#layers.length}`, size: dice.size(1_000, 12_000_000) };
      if (old === null) this.#layers.push(layer);
      if (!layers.includes(layer)) layers.push(layer);
    }
    const tars = layers.map(({ seed, size }) => {
      // A third of it compresses away.
      const content = Buffer.alloc(size, "lading ");
      content.set(randomBytesOf(seed, Math.ceil(size * 0.7)).subarray(0, size));
      return tarOf([{ name: `${digest(Buffer.from(seed)).slice(7, 19)}.bin`, content }]);
    });
    const diffIds = tars.map(digest);
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === "arm64" ? "arm64" : "amd64",
        os: "linux",
        created: "2024-05-06T07:08:09Z",
        config: { Cmd: ["/bin/true"], Labels: { soak: `${this.#seed}/${number}` } },
        rootfs: { type: "layers", diff_ids: diffIds },
        history: diffIds.map((_diffId, index) => ({ created: "2024-05-06T07:08:09Z", created_by: `layer ${index}` })),
      }),
    );
    const id = digest(config);
    const configName = `${id.slice(7)}.json`;
    const manifest = [
      { Config: configName, RepoTags: [name], Layers: tars.map((_tar, index) => `${index}/layer.tar`) },
    ];
    const archive = join(this.#folder, `${number}.tar`);
    const bytes = tarOf([
      ...tars.map((content, index) => ({ name: `${index}/layer.tar`, content })),
      { name: configName, content: config },
      { name: "manifest.json", content: Buffer.from(JSON.stringify(manifest)) },
    ]);
    await writeFile(archive, bytes);
    return { id, engineId: id, archive, name };
  }

  async #makeIndex(name: string, number: number): Promise<SoakImage> {
    const dice = this.#dice;
    const archive = join(this.#folder, String(number));
    const store = new LayoutStore(archive, { durability: "fast" });
    const { root, manifest } = await randomIndex(store, {
      seed: `${this.#seed}/index/${number}`,
      layers: dice.integer(1, 3),
      layerSize: dice.size(1_000, 4_000_000),
      format: dice.pick(["docker", "oci"]),
      attestations: dice.chance(0.5),
    });
    await store.tag(root, name);
    const index = JSON.parse(Buffer.from(manifest).toString()) as Manifest;
    const children: { readonly id: string; readonly platform: string }[] = [];
    for (const { digest: child, platform } of index.manifests ?? []) {
      const path = join(archive, "blobs", ...child.split(":"));
      const { config } = JSON.parse(await readFile(path, "utf8")) as Manifest;
      children.push({ id: config.digest, platform: `${platform?.os}/${platform?.architecture}` });
    }
    return { id: indexIdOf(children), engineId: engineIdOf(children), archive, name };
  }
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
