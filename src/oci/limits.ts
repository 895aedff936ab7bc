/**
 * Every bound on what Lading reads from outside, with a name and a reason
 * (`docs/security.md`; the numbers of other tools are in the design notes).
 * Bytes unless the name says otherwise.
 */
export const limits = {
  /** A manifest or an index. The distribution spec asks registries to accept at least 4 MB; the largest accepted here is 4 MiB. */
  manifest: 4 * 1024 * 1024,
  /** An image config where Lading parses it; configs that only pass through are not limited. */
  config: 4 * 1024 * 1024,
  /** `index.json` of an OCI layout on disk or in an archive. */
  layoutIndex: 20 * 1024 * 1024,
  /** `manifest.json` of a docker-archive. */
  archiveManifest: 20 * 1024 * 1024,
  /** A token server's answer. */
  tokenBody: 64 * 1024,
  /** The body of an error answer that is read at all. */
  errorBody: 64 * 1024,
  /** How much of a remote error text is shown, in characters. */
  errorText: 2048,
  /** All headers of one answer together: warnings may be many, and one answer may not fill the memory. */
  responseHeaders: 128 * 1024,
  /** A page of tags, of the catalog or of referrers. */
  listBody: 8 * 1024 * 1024,
  /** Redirects followed for one request. */
  redirects: 5,
  /** Pages followed for one list. */
  pages: 1000,
  /** Entries taken from one list. */
  listEntries: 1_000_000,
  /** How deep indexes may nest. */
  indexDepth: 8,
  /** Descriptors in one transfer. */
  descriptors: 10_000,
  /** Layers of one image, and entries of one index. */
  layers: 10_000,
  /** Entries of an image archive (not of a layer, which is never unpacked). */
  archiveEntries: 200_000,
  /** A PAX or GNU header in an archive. */
  archiveHeader: 1024 * 1024,
  /** Zeros behind an archive's end marker. */
  archiveTrailer: 64 * 1024 * 1024,
  /** A name in an archive: Linux's PATH_MAX. */
  archiveName: 4096,
  /** All JSON that is kept while an image archive is read in one pass: its manifests and configs. */
  archiveJson: 64 * 1024 * 1024,
  /** Files of a root file system that is imported; each costs some hundred bytes of memory while names are put into order. */
  rootEntries: 2_000_000,
  /** What a compressed stream may unpack to. */
  unpacked: 1024 ** 4,
  /** What a compressed stream may unpack to, however small it is: so much even a bomb may have. */
  unpackedAtLeast: 1024 ** 3,
  /** The window that a zstd stream may ask for: so much of its output has to stay in memory. What `zstd -d` takes. */
  zstdWindow: 128 * 1024 * 1024,
  /** How many times its own size a larger one may unpack to. Layers have 2 to 20, a bomb 1000 and more. */
  unpackedRatio: 250,
  /** Bytes of disk that a temporary file of an import leaves free. */
  diskReserve: 64 * 1024 * 1024,
  /** One line of an engine's JSON stream. */
  engineLine: 1024 * 1024,
  /** A credential helper's output. */
  helperOutput: 1024 * 1024,
  /** A configuration file. */
  configFile: 1024 * 1024,
  /** An `Authorization` header. */
  authorization: 16 * 1024,
} as const;

/** The name of a limit, as errors of the code `limit-exceeded` say it (`error.limit`). */
export type LimitName = keyof typeof limits;
