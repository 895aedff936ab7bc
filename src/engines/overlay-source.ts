import type { ContentSource, ReadOptions } from "../content/store.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";

/** A content source with some small content added and some hidden, for what an engine is sent instead of the original. */
export class OverlaySource implements ContentSource {
  readonly #below: ContentSource;
  readonly #added: ReadonlyMap<Digest, Uint8Array>;
  readonly #hidden: ReadonlySet<Digest>;

  constructor(below: ContentSource, added: ReadonlyMap<Digest, Uint8Array>, hidden: ReadonlySet<Digest>) {
    this.#below = below;
    this.#added = added;
    this.#hidden = hidden;
  }

  async has(descriptor: Descriptor, options?: { readonly signal?: AbortSignal | undefined }): Promise<boolean> {
    if (this.#hidden.has(descriptor.digest)) return false;
    return this.#added.has(descriptor.digest) || (await this.#below.has(descriptor, options));
  }

  async *get(descriptor: Descriptor, options?: ReadOptions): AsyncGenerator<Uint8Array> {
    const bytes = this.#added.get(descriptor.digest);
    if (bytes === undefined) yield* this.#below.get(descriptor, options);
    else yield bytes.subarray(options?.offset ?? 0);
  }
}
