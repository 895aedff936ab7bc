/** What is under a tag. */
export interface TagState {
  /** Digest of the image's config; of an index, what its images are known by. */
  readonly id: string;
  /** The ID that an engine gives it: of an index, that of the image for this machine. */
  readonly engineId: string;
  /** Digest of the manifest; of an engine that keeps none, the ID again. */
  readonly digest: string;
  /** Of an index, the digests of its manifests. */
  readonly children: readonly string[];
  /** What is missing in it, or null. */
  readonly broken: string | null;
}

/** An end of transfers, read behind Lading's back. */
export interface Place {
  readonly name: string;
  /** The tags of an image. */
  read(image: string): Promise<ReadonlyMap<string, TagState>>;
}
