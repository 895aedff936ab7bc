import { LadingError } from "../errors.js";
import { bareDescriptor, type Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { parseDescriptor } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";

/** The name of a manifest in a layout, as skopeo reads it. */
export const refNameAnnotation = "org.opencontainers.image.ref.name";
/** The full name of an image, as containerd and Docker write it. */
export const imageNameAnnotation = "io.containerd.image.name";

/** One image of a layout under its name. */
export interface LayoutEntry {
  readonly name: string;
  readonly descriptor: Descriptor;
}

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * `index.json` of an OCI layout. What others wrote in it stays as it is, entry by entry and field by field.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md#indexjson-file
 */
export class LayoutIndex {
  readonly #document: JsonObject;
  readonly #manifests: readonly unknown[];

  private constructor(document: JsonObject, manifests: readonly unknown[]) {
    this.#document = document;
    this.#manifests = manifests;
  }

  static readonly empty = new LayoutIndex({ schemaVersion: 2, mediaType: mediaTypes.ociIndex }, []);

  /** @throws LadingError `manifest-invalid` */
  static parse(bytes: Uint8Array): LayoutIndex {
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (cause) {
      throw new LadingError("manifest-invalid", "index.json of the layout is not JSON", { cause });
    }
    if (!isObject(value) || value.schemaVersion !== 2) {
      throw new LadingError("manifest-invalid", "index.json of the layout is no index of schema version 2");
    }
    const { manifests, ...document } = value;
    if (manifests !== undefined && manifests !== null && !Array.isArray(manifests)) {
      throw new LadingError("manifest-invalid", "manifests in index.json of the layout is not a list");
    }
    return new LayoutIndex(document, manifests ?? []);
  }

  bytes(): Uint8Array {
    return Buffer.from(JSON.stringify({ ...this.#document, manifests: this.#manifests }));
  }

  /** Everything that the layout holds on purpose, with or without a name. @throws LadingError `manifest-invalid` */
  roots(): readonly Descriptor[] {
    return this.#manifests.map((entry, index) => parseDescriptor(entry, `manifests[${index}] of index.json`));
  }

  /** The images with a name; of several entries with one name the last one counts. */
  entries(): readonly LayoutEntry[] {
    const named = new Map<string, Descriptor>();
    for (const [index, entry] of this.#manifests.entries()) {
      const name = nameOf(entry);
      if (name !== null) {
        named.set(name, bareDescriptor(parseDescriptor(entry, `manifests[${index}] of index.json`)));
      }
    }
    return [...named].map(([name, descriptor]) => ({ name, descriptor }));
  }

  /** By name; an entry of another tool also by its `ref.name`, where it has a fuller name beside it. */
  find(name: string): Descriptor | null {
    const named = this.entries().find((entry) => entry.name === name);
    if (named !== undefined) return named.descriptor;
    const other = this.#manifests.findLast((entry) => annotationsOf(entry)?.[refNameAnnotation] === name);
    return other === undefined ? null : bareDescriptor(parseDescriptor(other, "an entry of index.json"));
  }

  has(digest: Digest): boolean {
    return this.#manifests.some((entry) => isObject(entry) && entry.digest === digest);
  }

  /** With a name pointing at a manifest, whatever it pointed at before. */
  with(name: string, descriptor: Descriptor): LayoutIndex {
    const annotations = { [refNameAnnotation]: name, [imageNameAnnotation]: name };
    const entry = { ...bareDescriptor(descriptor), annotations };
    return new LayoutIndex(this.#document, [...this.#others(name), entry]);
  }

  without(name: string): LayoutIndex {
    return new LayoutIndex(this.#document, this.#others(name));
  }

  #others(name: string): readonly unknown[] {
    return this.#manifests.filter((entry) => nameOf(entry) !== name);
  }
}

function annotationsOf(entry: unknown): JsonObject | null {
  return isObject(entry) && isObject(entry.annotations) ? entry.annotations : null;
}

function nameOf(entry: unknown): string | null {
  const annotations = annotationsOf(entry);
  for (const key of [imageNameAnnotation, refNameAnnotation]) {
    const name = annotations?.[key];
    if (typeof name === "string" && name !== "") return name;
  }
  return null;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
