import { openThreadHash, type ThreadHash } from "../content/hash-thread.js";
import { createHasher, type Digest, type DigestAlgorithm, type Hasher } from "../oci/digest.js";

/** An upload whose first piece has so many bytes is worth a thread: more of them will come. */
const threadedSize = 512 * 1024;

/** The hash of an upload while it comes; of a large one beside everything else that the server does. */
export class UploadHash {
  readonly algorithm: DigestAlgorithm;
  #hash: Hasher | ThreadHash | null = null;
  #position = 0;

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm;
  }

  /** Bytes that went into it. */
  get position(): number {
    return this.#position;
  }

  /** The bytes stay as they are until this resolves. */
  async update(bytes: Uint8Array): Promise<void> {
    this.#hash ??=
      (bytes.byteLength < threadedSize ? null : openThreadHash(this.algorithm)) ?? createHasher(this.algorithm);
    this.#position += bytes.byteLength;
    await this.#hash.update(bytes);
  }

  /** Null where it was lost on the way, and the bytes have to be hashed again. To be called once. */
  async digest(): Promise<Digest | null> {
    return await (this.#hash ?? createHasher(this.algorithm)).digest();
  }

  /** Where no digest is wanted any more. */
  drop(): void {
    if (this.#hash !== null && "drop" in this.#hash) this.#hash.drop();
  }
}
