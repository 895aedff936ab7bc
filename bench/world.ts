import { mkdir, mkdtemp, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { BenchImage, ImageShelf } from "./image-shelf.js";
import { measure } from "./measure.js";

/** Where a run of the bench works. */
export class World {
  readonly folder: string;
  readonly images: ImageShelf;
  /** Small images, one run each. */
  readonly quick: boolean;
  /** The built `lading.js`. */
  readonly program: string;
  readonly #stores = new Map<string, Promise<string>>();

  constructor(options: Pick<World, "folder" | "images" | "quick" | "program">) {
    this.folder = options.folder;
    this.images = options.images;
    this.quick = options.quick;
    this.program = options.program;
  }

  /** A folder that is there for the length of a call. */
  async withFolder<T>(name: string, use: (folder: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(this.folder, `${name}-`));
    try {
      return await use(folder);
    } finally {
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    }
  }

  /** The environment of every client: a home that nobody has used, so that no configuration or credential counts. */
  async environment(more: Readonly<Record<string, string>> = {}): Promise<Record<string, string>> {
    const home = join(this.folder, "home");
    await mkdir(home, { recursive: true });
    return { HOME: home, XDG_CONFIG_HOME: join(home, ".config"), XDG_DATA_HOME: join(home, ".local"), ...more };
  }

  /** Lading's own store with an image in it under `app:1`, made when it is first asked for. */
  async storeOf(image: BenchImage): Promise<string> {
    const made = this.#stores.get(image.folder) ?? this.#makeStore(image);
    this.#stores.set(image.folder, made);
    return await made;
  }

  async #makeStore(image: BenchImage): Promise<string> {
    const store = join(this.folder, `store-${image.name}`);
    const env = await this.environment({ LADING_ENGINE: "store", LADING_STORE: store });
    const lading = (...args: string[]) => measure({ program: process.execPath, args: [this.program, ...args], env });
    await lading("load", image.folder, "--quiet");
    await lading("tag", "1:latest", "app:1");
    return store;
  }

  /** @throws Error where less is free than a row needs */
  async needDisk(bytes: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.folder);
    const free = bavail * bsize;
    if (free >= bytes) return;
    const gigabytes = (count: number) => `${(count / 1e9).toFixed(1)} GB`;
    throw new Error(`${this.folder} has ${gigabytes(free)} free, ${gigabytes(bytes)} are needed`);
  }
}
