import { createHash } from "node:crypto";
import { type ErrorCode, LadingError } from "../errors.js";

/**
 * A content digest that has been checked: `sha256:<64 lower-case hex>` or `sha512:<128 lower-case hex>`.
 * Made by {@link parseDigest} or by hashing only, so that a digest is always safe in a path or a URL. The mark exists in
 * types alone, under a name rather than a symbol, so that those of two copies of the package are one type.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
 */
export type Digest = string & { readonly "lading.digest": true };

export type DigestAlgorithm = "sha256" | "sha512";

const hexLength: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const form = /^(sha256|sha512):([a-f0-9]+)$/;

/** True where the text is a digest of a known algorithm with the right length. */
export function isDigest(text: unknown): text is Digest {
  if (typeof text !== "string" || text.length > 135) return false;
  const match = form.exec(text);
  return match !== null && match[2]?.length === hexLength[match[1] as DigestAlgorithm];
}

/** @throws LadingError with `code` (default `bad-reference`) where the text is no digest. */
export function parseDigest(text: unknown, code: ErrorCode = "bad-reference"): Digest {
  if (isDigest(text)) return text;
  const shown = typeof text === "string" ? JSON.stringify(text.slice(0, 140)) : `a value of type ${typeof text}`;
  throw new LadingError(code, `${shown} is not a digest: expected sha256:<64 hex> or sha512:<128 hex>`);
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.slice(0, 6) as DigestAlgorithm;
}

/** The hexadecimal part. */
export function digestHex(digest: Digest): string {
  return digest.slice(7);
}

/** A running hash. `digest()` may be called once. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  digest(): Digest;
}

export function createHasher(algorithm: DigestAlgorithm = "sha256"): Hasher {
  const hash = createHash(algorithm);
  return {
    update: (bytes) => {
      hash.update(bytes);
    },
    digest: () => `${algorithm}:${hash.digest("hex")}` as Digest,
  };
}

export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest;
}
