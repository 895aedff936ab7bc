// Runs as a process of its own, bundled by store-process.ts: `<verb> <directory> <argument>…`.
import { LayoutStore } from "../../src/content/layout.js";
import { isLadingError } from "../../src/errors.js";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { randomBytesOf } from "./random-bytes.js";
import { randomImage } from "./random-image.js";

const [verb, directory = "", ...rest] = process.argv.slice(2);
const onWarning = () => process.stdout.write("waiting\n");
const store = LayoutStore.open(directory, { durability: "fast", onWarning });

const verbs: Record<string, () => Promise<void>> = {
  /** Makes the image of a seed and gives it a name, so many times. */
  async tag() {
    const [seed = "", name = "", times = "1"] = rest;
    const image = await randomImage(store, { seed });
    for (let time = 0; time < Number(times); time++) await store.tag(image.root, name);
  },
  /** Puts content of a seed; says `half` when half of it is stored, and waits there to be killed unless told `on`. */
  async put() {
    const [seed = "", size = "0", goOn] = rest;
    const bytes = randomBytesOf(seed, Number(size));
    const descriptor = { mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: bytes.byteLength };
    let said = false;
    let half = () => {};
    const stored = new Promise<void>((resolve) => {
      half = resolve;
    });
    const source = async function* (offset: number) {
      const middle = bytes.byteLength / 2;
      yield bytes.subarray(offset, middle);
      if (goOn !== "on") {
        // The store writes what it has after a moment, also where little comes.
        for (let at = middle; !said; at += 1) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          yield bytes.subarray(at, at + 1);
        }
        await stored;
        await new Promise(() => setInterval(() => {}, 1000));
      }
      yield bytes.subarray(Math.max(offset, middle));
    };
    const { transferred } = await store.put(descriptor, source, {
      onBytes: (bytesStored) => {
        if (said || bytesStored < bytes.byteLength / 2) return;
        said = true;
        process.stdout.write("half\n");
        half();
      },
    });
    process.stdout.write(`transferred ${transferred}\n`);
  },
  /** Takes the lock and waits there to be killed. */
  async lock() {
    await store.exclusively(undefined, async () => {
      process.stdout.write("locked\n");
      await new Promise(() => setInterval(() => {}, 1000));
    });
  },
};

try {
  await verbs[verb ?? ""]?.();
} catch (error) {
  process.stderr.write(`${isLadingError(error) ? error.code : String(error)}\n`);
  process.exitCode = 1;
}
