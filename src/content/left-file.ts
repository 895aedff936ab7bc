import type { Digest } from "../oci/digest.js";

/** A file of a store's private folder that somebody left there: a partial download, a damaged blob. */
export interface LeftFile {
  readonly path: string;
  /** What it was or was to become; null where nobody knows. */
  readonly digest: Digest | null;
  /** Bytes. */
  readonly size: number;
  /** When it was left, in ms since 1970. */
  readonly since: number;
}
