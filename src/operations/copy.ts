import { convertManifests } from "../content/convert.js";
import { type BlobEvent, copyBlobs, copyManifests } from "../content/copy.js";
import { type ImageFormat, imageFormats } from "../content/layer-cache.js";
import type { PutResult } from "../content/store.js";
import { type ContentTree, layersSize, manifestReader, walkTree } from "../content/walk.js";
import { isLadingError, LadingError } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import { type RemoteImage, wireName } from "../image/remote-image.js";
import type { Digest } from "../oci/digest.js";
import type { RawManifest } from "../oci/manifest.js";
import type { Repository } from "../registry/repository.js";
import { type BlobCounts, countSent } from "./blob-counts.js";
import { checkedChoice } from "./call-options.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { RemoteDetails } from "./remote-details.js";
import { type PlatformOption, selectManifest, wantedPlatform } from "./selection.js";
import { type TransferProgress, withProgress } from "./transfer-progress.js";

/** Options of `copy`. */
export interface CopyOptions extends CallOptions {
  readonly progress?: ImageProgress | null | undefined;
  readonly platform?: PlatformOption;
  /** Every tag of the source repository; neither side names a tag then. @default false */
  readonly allTags?: boolean | null | undefined;
  /** What refers to the image goes along: signatures, attestations. @default false */
  readonly referrers?: boolean | null | undefined;
  /** Media types of the manifest. Default: as the image has them. */
  readonly format?: ImageFormat | null | undefined;
}

interface CopyFields {
  readonly reference: string;
  readonly digest: Digest;
  readonly manifestDigest: Digest | null;
  readonly mediaType: string;
  readonly size: number;
  readonly platforms: readonly string[];
  readonly tags: readonly string[];
  readonly blobs: BlobCounts;
  readonly bytesSent: number;
  readonly unchanged: boolean;
  readonly seconds: number;
}

/** The result of `copy` as JSON. */
export interface CopyJson extends CopyFields {
  readonly source: string;
  readonly remote: string;
}

/** What `copy` did. */
export interface CopyResult extends CopyFields {
  readonly source: RemoteImage;
  readonly remote: RemoteImage;
  toJSON(): CopyJson;
}

/** Every tag of a repository, copied. */
export interface CopyAllResult {
  readonly copies: readonly CopyResult[];
  toJSON(): readonly CopyJson[];
}

/** From one repository to another, through memory alone: blobs stream, what is there is skipped or mounted. */
export async function copy(
  context: ClientContext,
  source: RemoteImage,
  destination: RemoteImage,
  options: CopyOptions,
  callerSignal: AbortSignal,
): Promise<CopyResult> {
  checkedChoice("format", options.format, imageFormats);
  const from = await context.repository(source, "source", options);
  const to = await context.repository(destination, "destination", options);
  const transfer = async (progress: TransferProgress, signal: AbortSignal) => {
    progress.push({ src: new LocalImage(wirePath(source), source.tag), dst: destination });
    return await new Copy(context, from, to, options, progress, signal).run(source, destination);
  };
  return await context.transfers.run(() => withProgress(options.progress, callerSignal, transfer), callerSignal);
}

/** Every tag of a repository, several at a time. @throws LadingError `usage` where a side names a tag or digest */
export async function copyAll(
  context: ClientContext,
  source: RemoteImage,
  destination: RemoteImage,
  options: CopyOptions,
  callerSignal: AbortSignal,
): Promise<CopyAllResult> {
  if (source.tag !== null || source.digest !== null || destination.tag !== null || destination.digest !== null) {
    throw new LadingError("usage", "with --all-tags neither side names a tag or digest");
  }
  checkedChoice("format", options.format, imageFormats);
  const from = await context.repository(source, "source", options);
  const to = await context.repository(destination, "destination", options);
  const copies = await withProgress(options.progress, callerSignal, async (progress, signal, failed) => {
    progress.push({ src: new LocalImage(wirePath(source), null), dst: destination });
    const running: Promise<CopyResult>[] = [];
    for await (const page of from.tags({ signal })) {
      for (const tag of page) {
        const one = new Copy(context, from, to, options, progress, signal);
        running.push(context.transfers.run(() => one.run(source.withTag(tag), destination.withTag(tag)), signal));
      }
    }
    // The first failure ends the others; the call returns when all of them have let go.
    for (const one of running) one.catch(failed);
    await Promise.allSettled(running);
    return await Promise.all(running);
  });
  const json = copies.map((one) => one.toJSON());
  return { copies, toJSON: () => json };
}

class Copy {
  readonly #context: ClientContext;
  readonly #from: Repository;
  readonly #to: Repository;
  readonly #options: CopyOptions;
  readonly #progress: TransferProgress;
  readonly #signal: AbortSignal;

  constructor(
    context: ClientContext,
    from: Repository,
    to: Repository,
    options: CopyOptions,
    progress: TransferProgress,
    signal: AbortSignal,
  ) {
    this.#context = context;
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#progress = progress;
    this.#signal = signal;
  }

  async run(source: RemoteImage, destination: RemoteImage): Promise<CopyResult> {
    const started = performance.now();
    const signal = this.#signal;
    const details = new RemoteDetails(this.#from, signal);
    let top = await details.top(source.digest ?? source.tag ?? "latest");
    const platform = wantedPlatform(this.#options.platform, this.#context.config.platform, null);
    if (platform !== null) top = (await selectManifest(top, platform, details.read)).image;
    const images = await details.images(top);
    const original = await walkTree(top.descriptor, async (descriptor) =>
      descriptor.digest === top.descriptor.digest ? top : await details.read(descriptor),
    );
    const { format } = this.#options;
    const manifests = format ? convertManifests(original.manifests, format) : original.manifests;
    const root = manifests.at(-1)?.descriptor ?? top.descriptor;
    const tree: ContentTree = { ...original, manifests, root };
    // A copy of a digest to a place without a tag stays a copy of that digest.
    const tag =
      destination.tag ?? (destination.digest === null && source.digest === null ? (source.tag ?? "latest") : null);
    if (destination.digest !== null && destination.digest !== root.digest) {
      throw new LadingError(
        "digest-mismatch",
        `${source} is ${root.digest}, not the digest that the destination names`,
        {
          digest: root.digest,
          side: "destination",
        },
      );
    }
    const head = await this.#to.resolve(tag ?? root.digest, { signal });
    const unchanged = head?.digest === root.digest;
    const results = unchanged ? new Map<Digest, PutResult>() : await this.#move(tree, source, destination);
    // A referrer is published again: who did it before may have ended before it was in its subject's list.
    if (!unchanged || manifests.at(-1)?.manifest.subject) await this.#publish(tree, tag);
    if (this.#options.referrers) await this.#copyReferrers(tree, source, destination);
    for (const layer of tree.layers) this.#progress.finish(layer.digest, "exists", layer.size);
    const remote = tag === null ? destination : destination.withTag(tag);
    return copyResult({
      source,
      remote,
      tree,
      tags: tag === null ? [] : [tag],
      platforms: images.flatMap(({ platform: name }) => (name === null ? [] : [name])),
      results,
      unchanged,
      seconds: (performance.now() - started) / 1000,
    });
  }

  async #move(
    tree: ContentTree,
    source: RemoteImage,
    destination: RemoteImage,
  ): Promise<ReadonlyMap<Digest, PutResult>> {
    const layers = new Set(tree.layers.map((layer) => layer.digest));
    const [one, two] = [wireName(source), wireName(destination)];
    const mountable = one.registry === two.registry && one.repository !== two.repository ? [one.repository] : [];
    const { results } = await copyBlobs(tree.blobs, {
      source: this.#from,
      destination: this.#to,
      limiter: this.#context.blobs,
      shared: this.#context.shared,
      sharedKey: `copy ${this.#context.identity(this.#from)} ${this.#context.identity(this.#to)}`,
      mountFrom: () => mountable,
      shareFiles: true,
      signal: this.#signal,
      onEvent: ({ digest, size }, event: BlobEvent) => {
        if (!layers.has(digest)) return;
        if (event.kind === "checking") this.#progress.report(digest, "checking", 0, size);
        else if (event.kind === "retrying") this.#progress.report(digest, "retrying", event.current, null);
        else this.#progress.report(digest, "uploading", event.current, size);
      },
      onBlob: ({ digest, size }, { outcome }) => {
        if (layers.has(digest)) this.#progress.finish(digest, outcome === "stored" ? "done" : outcome, size);
      },
    });
    return results;
  }

  async #publish(tree: ContentTree, tag: string | null): Promise<void> {
    const signal = this.#signal;
    await copyManifests(tree.manifests.slice(0, tag === null ? undefined : -1), this.#to, signal);
    const root = tree.manifests.at(-1);
    if (tag !== null) await this.#to.tag(tree.root, tag, { signal, bytes: root?.bytes });
  }

  /** Referrers of every manifest of the image, and theirs; each is complete before it is visible. */
  async #copyReferrers(tree: ContentTree, source: RemoteImage, destination: RemoteImage): Promise<void> {
    const waiting: Digest[] = tree.manifests.map((raw) => raw.descriptor.digest);
    const seen = new Set<Digest>(waiting);
    for (let subject = waiting.shift(); subject !== undefined; subject = waiting.shift()) {
      for (const referrer of await this.#referrersOf(subject)) {
        if (seen.has(referrer.descriptor.digest)) continue;
        seen.add(referrer.descriptor.digest);
        const read = manifestReader(this.#from, this.#signal);
        const own = await walkTree(referrer.descriptor, read);
        await this.#move(own, source, destination);
        await this.#publish(own, null);
        waiting.push(referrer.descriptor.digest);
      }
    }
  }

  async #referrersOf(subject: Digest): Promise<readonly RawManifest[]> {
    try {
      const referrers = await this.#from.referrers(subject, { signal: this.#signal });
      return await Promise.all(referrers.map(({ digest }) => this.#from.manifest(digest, { signal: this.#signal })));
    } catch (error) {
      if (isLadingError(error) && (error.code === "unsupported" || error.code === "not-found")) return [];
      throw error;
    }
  }
}

function copyResult(input: {
  readonly source: RemoteImage;
  readonly remote: RemoteImage;
  readonly tree: ContentTree;
  readonly tags: readonly string[];
  readonly platforms: readonly string[];
  readonly results: ReadonlyMap<Digest, PutResult>;
  readonly unchanged: boolean;
  readonly seconds: number;
}): CopyResult {
  const { source, remote, tree, results } = input;
  const { blobs, bytes } = countSent(tree, results);
  const images = tree.manifests.filter((raw) => raw.manifest.kind === "image");
  const fields: CopyFields = {
    reference: `${wirePath(remote)}@${tree.root.digest}`,
    digest: tree.root.digest,
    manifestDigest: images.length === 1 ? (images[0]?.descriptor.digest ?? null) : null,
    mediaType: tree.root.mediaType,
    size: layersSize(tree.manifests.map((raw) => raw.manifest)),
    platforms: input.platforms,
    tags: input.tags,
    blobs,
    bytesSent: bytes,
    unchanged: input.unchanged,
    seconds: input.seconds,
  };
  const json: CopyJson = { source: source.toString(), remote: remote.toString(), ...fields };
  return { source, remote, ...fields, toJSON: () => json };
}
