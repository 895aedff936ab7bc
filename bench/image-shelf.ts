import { spawn } from "node:child_process";
import { createHash, type Hash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { access, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { type LayerMix, layerTar } from "./layer-tar.js";

/** An image in an OCI layout of its own, under the name `app:1`'s tag `1`. */
export interface BenchImage {
  readonly name: string;
  /** The layout's folder. */
  readonly folder: string;
  /** Of the manifest. */
  readonly digest: string;
  /** Compressed bytes of all layers. */
  readonly compressed: number;
  /** Bytes of all layers unpacked. */
  readonly unpacked: number;
  readonly layers: number;
}

interface SeededLayer {
  readonly size: number;
  readonly mix: LayerMix;
}

/** What an image is made of. Another recipe has another folder on the shelf. */
export interface ImageRecipe {
  readonly name: string;
  /** Seeded layers, or the paths of folders of this machine, one layer each. */
  readonly layers: readonly (SeededLayer | { readonly folders: readonly string[] })[];
  /** Of gzip; 0 stores. @default 6 */
  readonly level?: number;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Images, made when they are first asked for and kept from run to run. */
export class ImageShelf {
  readonly #folder: string;
  readonly #say: (text: string) => void;

  constructor(folder: string, say: (text: string) => void) {
    this.#folder = folder;
    this.#say = say;
  }

  async take(recipe: ImageRecipe): Promise<BenchImage> {
    const key = createHash("sha256").update(JSON.stringify(recipe)).digest("hex").slice(0, 12);
    const folder = join(this.#folder, `${recipe.name}-${key}`);
    const made = join(folder, "bench.json");
    if (!(await isThere(made))) {
      this.#say(`  making the image ${recipe.name} …`);
      const fresh = `${folder}.${process.pid}.new`;
      await rm(fresh, { recursive: true, force: true });
      const image = await makeLayout(recipe, fresh);
      await writeFile(join(fresh, "bench.json"), JSON.stringify(image));
      await rm(folder, { recursive: true, force: true });
      await rename(fresh, folder);
      const ratio = (image.compressed / image.unpacked).toFixed(2);
      this.#say(
        `  ${megabytes(image.unpacked)} in ${image.layers} layers, ${megabytes(image.compressed)} packed (${ratio})`,
      );
    }
    return { ...(JSON.parse(await readFile(made, "utf8")) as Omit<BenchImage, "folder">), folder };
  }
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

async function makeLayout(recipe: ImageRecipe, folder: string): Promise<Omit<BenchImage, "folder">> {
  const blobs = join(folder, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const layers: { descriptor: Descriptor; diffId: string; unpacked: number }[] = [];
  for (const [index, layer] of recipe.layers.entries()) {
    const tar =
      "folders" in layer ? tarOfFolders(layer.folders) : layerTar(`${recipe.name}/${index}`, layer.size, layer.mix);
    layers.push(await putLayer(blobs, tar, recipe.level ?? 6));
  }
  const put = async (mediaType: string, value: unknown): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash("sha256").update(bytes).digest("hex");
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const created = "2024-05-06T07:08:09Z";
  const config = await put("application/vnd.oci.image.config.v1+json", {
    created,
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/bin/true"] },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((_layer, index) => ({ created, created_by: `layer ${index}` })),
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const descriptors = layers.map(({ descriptor }) => descriptor);
  const manifest = await put(mediaType, { schemaVersion: 2, mediaType, config, layers: descriptors });
  const annotations = { "org.opencontainers.image.ref.name": "1" };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
  await writeFile(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return {
    name: recipe.name,
    digest: manifest.digest,
    compressed: descriptors.reduce((sum, { size }) => sum + size, 0),
    unpacked: layers.reduce((sum, { unpacked }) => sum + unpacked, 0),
    layers: layers.length,
  };
}

async function putLayer(blobs: string, tar: Iterable<Buffer> | AsyncIterable<Buffer>, level: number) {
  const [plain, packed] = [createHash("sha256"), createHash("sha256")];
  const temporary = join(blobs, `layer.${process.pid}`);
  const counted = { unpacked: 0 };
  const count = (hash: Hash) =>
    async function* (chunks: AsyncIterable<Buffer> | Iterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        if (hash === plain) counted.unpacked += chunk.length;
        yield chunk;
      }
    };
  await pipeline(tar, count(plain), createGzip({ level }), count(packed), createWriteStream(temporary));
  const { size } = await stat(temporary);
  const hex = packed.digest("hex");
  await rename(temporary, join(blobs, hex));
  const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
  const descriptor: Descriptor = { mediaType, digest: `sha256:${hex}`, size };
  return { descriptor, diffId: `sha256:${plain.digest("hex")}`, unpacked: counted.unpacked };
}

/** Real files, by the system's tar in an order that does not depend on the file system. */
function tarOfFolders(folders: readonly string[]): AsyncIterable<Buffer> {
  const options = ["--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@0", "--hard-dereference"];
  const tar = spawn("tar", [...options, "-C", "/", "-cf", "-", ...folders.map((path) => path.replace(/^\//, ""))], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  return tar.stdout;
}
