import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Descriptor, engineIdOf, indexIdOf, type Manifest } from "./manifest.js";
import type { Place, TagState } from "./place.js";

/** What Lading's own store has, read from its files. */
export class StoreView implements Place {
  readonly name = "store";
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async read(image: string): Promise<ReadonlyMap<string, TagState>> {
    const states = new Map<string, TagState>();
    for (const [name, { digest }] of await this.names()) {
      const at = name.lastIndexOf(":");
      if (name.slice(0, at) === image) states.set(name.slice(at + 1), await this.#state(digest));
    }
    return states;
  }

  /** Names with their manifests. */
  async names(): Promise<ReadonlyMap<string, Descriptor>> {
    const bytes = await readFile(join(this.#folder, "index.json"), "utf8").catch(() => '{"manifests":[]}');
    const { manifests } = JSON.parse(bytes) as { manifests: Descriptor[] };
    return new Map(
      manifests.flatMap((manifest) => {
        const name = manifest.annotations?.["org.opencontainers.image.ref.name"];
        return name === undefined ? [] : [[name, manifest]];
      }),
    );
  }

  path(digest: string): string {
    return join(this.#folder, "blobs", ...digest.split(":"));
  }

  async #state(digest: string): Promise<TagState> {
    const broken = (text: string): TagState => ({
      id: "broken",
      engineId: "broken",
      digest,
      children: [],
      broken: text,
    });
    const bytes = await readFile(this.path(digest)).catch(() => null);
    if (bytes === null) return broken(`${digest} is missing`);
    const manifest = JSON.parse(bytes.toString()) as Manifest;
    if (manifest.manifests !== undefined) {
      const states: (TagState & { readonly platform: string })[] = [];
      for (const child of manifest.manifests) {
        const state = await this.#state(child.digest);
        if (state.broken !== null) return broken(state.broken);
        states.push({ ...state, platform: `${child.platform?.os}/${child.platform?.architecture}` });
      }
      const children = states.map((state) => state.digest);
      return { id: indexIdOf(states), engineId: engineIdOf(states), digest, children, broken: null };
    }
    for (const child of [manifest.config, ...manifest.layers]) {
      const size = (await stat(this.path(child.digest)).catch(() => null))?.size;
      if (size !== child.size) return broken(`${child.digest} is ${size} bytes, not ${child.size}`);
    }
    const { digest: id } = manifest.config;
    return { id, engineId: id, digest, children: [], broken: null };
  }
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
