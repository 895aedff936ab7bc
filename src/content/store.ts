import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";

/**
 * Opens content at an offset (bytes). Called again, from where the reader stands, when a transfer is resumed
 * or sent again; so it must give the same bytes each time. What it yields is given away: it does not fill a buffer
 * again that it gave, unless it lent that (`lent-chunk.ts`) and has it back.
 */
export type ByteSource = (offset: number, signal?: AbortSignal) => AsyncIterable<Uint8Array>;

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** First byte to read. @default 0 */
  readonly offset?: number | undefined;
  /**
   * False where the taker verifies anyway (every `put` does), so that content is hashed once. A hint: a source may
   * verify nevertheless. @default true
   */
  readonly verify?: boolean | undefined;
  /** The transfer was interrupted, and goes on where it stopped. */
  readonly onRetry?: ((reason: Error) => void) | undefined;
}

export interface PutOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Bytes of the content that the store has taken so far: including what an earlier run had left.
   * Falls only when a transfer starts anew.
   */
  readonly onBytes?: ((stored: number) => void) | undefined;
  /** A transfer was interrupted and is tried again. */
  readonly onRetry?: ((reason: Error) => void) | undefined;
  /** Repositories of the same registry that hold the content, best first: a registry may mount it. */
  readonly mountFrom?: readonly string[] | undefined;
  /**
   * The content as a file: a blob of another store, verified when it was written, read-only and never written again.
   * A store on the same file system may link it instead of reading the source. Null where there is none.
   */
  readonly file?: (() => Promise<string | null>) | undefined;
}

/**
 * What a `put` came to. `transferred` counts the bytes that really moved, those sent twice twice; and those of a file
 * that was linked, once: the store has taken so much over, however cheaply.
 */
export interface PutResult {
  readonly outcome: "stored" | "exists" | "mounted";
  readonly transferred: number;
}

/** Content that can be read by descriptor. Every reader verifies: size and digest are checked at the end of the stream. */
export interface ContentSource {
  /** True where the content is there whole, with the size that the descriptor says. */
  has(descriptor: Descriptor, options?: { readonly signal?: AbortSignal | undefined }): Promise<boolean>;
  /**
   * The bytes, from `offset`. A reader that starts at 0 fails at the end of the stream when size or digest
   * do not agree.
   * @throws LadingError `not-found`, `digest-mismatch`, `size-mismatch`
   */
  get(descriptor: Descriptor, options?: ReadOptions): AsyncIterable<Uint8Array>;
}

/**
 * Where content is kept: the layout on disk, memory, or one repository of a registry. Manifests are content
 * like any other; a registry tells them by media type.
 */
export interface ContentStore extends ContentSource {
  /**
   * Takes content over. Nobody sees it before it is whole and verified. Content that is there already
   * is not read from the source.
   * @throws LadingError `digest-mismatch`, `size-mismatch`, `no-space`, `io`, …
   */
  put(descriptor: Descriptor, source: ByteSource, options?: PutOptions): Promise<PutResult>;
  /** The descriptor that a tag (registry) or a full local name (layout) points at, or null. */
  resolve(reference: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<Descriptor | null>;
  /**
   * Points a tag or name at content that is there. Always the last step.
   * `bytes`: the manifest's bytes, which a registry wants again.
   */
  tag(
    descriptor: Descriptor,
    reference: string,
    options?: { readonly signal?: AbortSignal | undefined; readonly bytes?: Uint8Array | undefined },
  ): Promise<void>;
}

/** A store that can give a whole file instead of a stream, so that another one can link it. */
export interface FileBacked {
  /** The path of verified content, or null where it is not there. */
  path(digest: Digest): Promise<string | null>;
}

export function isFileBacked(store: object): store is FileBacked {
  return "path" in store && typeof (store as FileBacked).path === "function";
}
