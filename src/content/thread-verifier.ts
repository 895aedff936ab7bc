import type { Descriptor } from "../oci/descriptor.js";
import { digestAlgorithm } from "../oci/digest.js";
import { openThreadHash } from "./hash-thread.js";
import { mismatched, tooLong, tooShort } from "./verify.js";

/** As `Verifier` of `verify.ts`, with the hashing in another thread: so that it costs the reader of a fast line nothing. */
export interface ThreadVerifier {
  /** As `Verifier.update`; the chunk lies in shared memory, and stays as it is until this resolves. */
  update(chunk: Uint8Array): Promise<void>;
  /** As `Verifier.finish`. False where the thread was lost: then the content has to be read again. */
  finish(): Promise<boolean>;
  /** Where the content never came to its end. */
  drop(): void;
}

/** Null where a thread would not help. */
export function createThreadVerifier(descriptor: Descriptor): ThreadVerifier | null {
  const { digest, size } = descriptor;
  const hash = openThreadHash(digestAlgorithm(digest));
  if (hash === null) return null;
  let seen = 0;
  return {
    async update(chunk) {
      seen += chunk.byteLength;
      if (seen > size) throw tooLong(descriptor);
      await hash.update(chunk);
    },
    async finish() {
      const found = await hash.digest();
      if (seen < size) throw tooShort(descriptor, seen);
      if (found !== null && found !== digest) throw mismatched(descriptor, found);
      return found !== null;
    },
    drop: () => hash.drop(),
  };
}
