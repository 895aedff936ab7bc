/** Options of a collection. */
export interface CollectOptions {
  /** Only says what would be done. @default false */
  readonly dryRun?: boolean | null | undefined;
  /**
   * How long what nothing names stays at each of its steps, in ms. With 0 everything goes at once: only where nobody
   * pushes meanwhile. @default the registry's limit `collectGrace`
   */
  readonly grace?: number | null | undefined;
  readonly signal?: AbortSignal | null | undefined;
}

/** What a collection did, or would do. */
export interface CollectReport {
  readonly dryRun: boolean;
  /** Seconds. */
  readonly grace: number;
  readonly repositories: number;
  readonly tags: { readonly removed: number };
  readonly manifests: { readonly condemned: number; readonly revived: number; readonly removed: number };
  readonly links: { readonly condemned: number; readonly revived: number; readonly removed: number };
  readonly blobs: {
    readonly condemned: number;
    /** Bytes that a later collection frees. */
    readonly condemnedBytes: number;
    readonly revived: number;
    readonly removed: number;
    readonly removedBytes: number;
  };
  /** Uploads that nobody went on with. */
  readonly uploads: { readonly removed: number; readonly removedBytes: number };
  /** What could not be read, so that nothing of it was removed. */
  readonly errors: readonly { readonly repository: string | null; readonly message: string }[];
}
