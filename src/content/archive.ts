import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { ArchiveContents, type ArchiveImage, type ReadArchiveOptions } from "./archive-contents.js";
import { decompress, sniffCompression } from "./decompress.js";
import { finishDockerArchive } from "./docker-archive.js";
import { finishOciArchive } from "./oci-archive.js";
import { peek } from "./peek.js";
import { readTar } from "./tar.js";
import { invalidArchive } from "./tar-header.js";

export type { ArchiveImage, ReadArchiveOptions } from "./archive-contents.js";
export {
  type DockerArchiveImage,
  type WriteDockerArchiveOptions,
  writeDockerArchive,
} from "./docker-archive.js";
export { type OciArchiveImage, type WriteOciArchiveOptions, writeOciArchive } from "./oci-archive.js";

/** The descriptors, as they become available; the images once the stream was read to its end. */
export interface ImageArchive extends AsyncIterable<Descriptor> {
  readonly images: readonly ArchiveImage[];
}

/**
 * Reads a docker-archive or an OCI archive (an archive with `index.json`) into a store, in one pass over a stream. Yields each blob
 * once it is in the store, then manifests, children first, and of each image its root last. Plain layers of a docker-archive are
 * compressed on the way; whatever has a digest is kept as it is. The archive may be compressed itself.
 *
 * Names in an archive are keys and never paths: nothing is unpacked.
 * @throws LadingError `archive-invalid`, `digest-mismatch`, `limit-exceeded`, `manifest-invalid`, `not-found` (no such platform in
 *   it), `unsupported`, `cancelled`; what source and store throw
 */
export function readImageArchive(source: AsyncIterable<Uint8Array>, options: ReadArchiveOptions): ImageArchive {
  const images: ArchiveImage[] = [];
  return { images, [Symbol.asyncIterator]: () => read(source, options, images) };
}

async function* read(
  source: AsyncIterable<Uint8Array>,
  options: ReadArchiveOptions,
  images: ArchiveImage[],
): AsyncGenerator<Descriptor, void, undefined> {
  const contents = new ArchiveContents(options);
  for await (const entry of readTar(plain(source, options.signal), { signal: options.signal })) {
    const ready = await contents.add(entry);
    if (ready !== null) yield ready;
  }
  const docker = contents.has("manifest.json");
  if (contents.has("index.json") && !(docker && options.preferDockerArchive === true)) {
    yield* finishOciArchive(contents, images);
  } else if (docker) {
    yield* finishDockerArchive(contents, images);
  } else {
    throw new LadingError("archive-invalid", "the archive has neither manifest.json nor index.json: it is no image", {
      hint: "for the files of a root file system, use: lading import",
    });
  }
  if (images.length === 0) throw invalidArchive("the archive holds no image");
}

async function* plain(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { head, stream } = await peek(source, 6);
  const compression = sniffCompression(head);
  if (compression === "xz" || compression === "bzip2") {
    throw new LadingError("unsupported", `the archive is compressed with ${compression}, which Lading does not read`, {
      hint: `unpack it first, for example with ${compression} -dc`,
    });
  }
  yield* decompress(stream, compression, { signal });
}
