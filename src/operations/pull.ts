import { type BlobEvent, copyBlobs, copyManifests } from "../content/copy.js";
import type { LayoutStore } from "../content/layout.js";
import type { PutResult } from "../content/store.js";
import { readVerified } from "../content/verify.js";
import { walkTree } from "../content/walk.js";
import type { EngineInfo, LocalEngine } from "../engines/engine.js";
import { isLadingError, LadingError } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex, isDigest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { type ImageConfig, parseImageConfig, type RawManifest } from "../oci/manifest.js";
import { isIndexType } from "../oci/media-types.js";
import { formatPlatform, type Platform } from "../oci/platform.js";
import type { Repository } from "../registry/repository.js";
import type { CallOptions, ClientContext } from "./context.js";
import { diskNeed, sayingDiskNeed } from "./disk-need.js";
import { pullByEngine } from "./engine-exchange.js";
import { type PullOutcome, type PullResult, pullResult, type Selection } from "./pull-result.js";
import { belongsTo, type PlatformOption, selectManifest, wantedPlatform } from "./selection.js";
import { type TransferProgress, withProgress } from "./transfer-progress.js";

/** Options of `pull`. */
export interface PullOptions extends CallOptions {
  readonly progress?: ImageProgress | null | undefined;
  /**
   * `os/architecture[/variant]`, or `all` to keep an index whole. Default: the engine's platform
   * (the store: linux and the host's architecture).
   */
  readonly platform?: PlatformOption;
}

/** Every blob is verified before anyone can see it; the local name moves last. */
export async function pull(
  context: ClientContext,
  remote: RemoteImage,
  local: LocalImage | null,
  options: PullOptions,
  callerSignal: AbortSignal,
): Promise<PullResult> {
  const started = performance.now();
  const { engine, kind } = await context.engine(callerSignal);
  const transfer = async (progress: TransferProgress, signal: AbortSignal) => {
    const repository = await context.repository(remote, "source", options);
    const target = localTarget(context, remote, local);
    progress.pull({ src: remote, dst: target ?? new LocalImage(remote.name, null) });
    const running = new Pull(context, engine, repository, remote, options, progress, signal);
    const outcome = await context.holding(() => running.run(target));
    if (kind === "store") await context.rememberOrigin(outcome.selection.root.digest, remote);
    return pullResult(remote, kind, outcome, (performance.now() - started) / 1000);
  };
  return await context.transfers.run(() => withProgress(options.progress, callerSignal, transfer), callerSignal);
}

/** The name that the image gets; null where it can be told only by the digest. */
function localTarget(context: ClientContext, remote: RemoteImage, local: LocalImage | null): LocalImage | null {
  if (local !== null) return local.tag === null ? new LocalImage(local.name, "latest") : local;
  if (remote.digest !== null && remote.tag === null) return null;
  const computed = context.parser.toLocal(remote);
  return computed.tag === null ? new LocalImage(computed.name, "latest") : computed;
}

/** What an engine itself could not do is the destination's; all else may be the image's. */
function atEngine(error: unknown): unknown {
  const isIts = isLadingError(error) && /^(?:engine-|no-space$)/.test(error.code);
  return isIts ? error.with({ side: "destination" }) : error;
}

class Pull {
  readonly #context: ClientContext;
  readonly #engine: LocalEngine;
  readonly #repository: Repository;
  readonly #remote: RemoteImage;
  readonly #options: PullOptions;
  readonly #progress: TransferProgress;
  readonly #signal: AbortSignal;
  /** What came before it was known what else is wanted: the config. */
  readonly #early = new Map<Digest, PutResult>();

  constructor(
    context: ClientContext,
    engine: LocalEngine,
    repository: Repository,
    remote: RemoteImage,
    options: PullOptions,
    progress: TransferProgress,
    signal: AbortSignal,
  ) {
    this.#context = context;
    this.#engine = engine;
    this.#repository = repository;
    this.#remote = remote;
    this.#options = options;
    this.#progress = progress;
    this.#signal = signal;
  }

  async run(target: LocalImage | null): Promise<PullOutcome> {
    const signal = this.#signal;
    // An engine takes 30 ms and more to say what it is, and the registry is asked meanwhile.
    const reading = this.#repository.manifest(this.#remote.digest ?? this.#remote.tag ?? "latest", { signal });
    const looking = target === null ? null : this.#engine.inspect(target, signal);
    for (const asked of [reading, looking]) asked?.catch(() => undefined); // Where another one fails first.
    const info = await this.#engine.info(signal);
    const store = await this.#context.store();
    const selection = await this.#select(store, info, await reading);
    const local = target ?? digestName(this.#context, this.#remote, selection.top.descriptor.digest);
    const before = await (looking ?? this.#engine.inspect(local, signal));
    const expected = expectedId(info, selection);
    const { layers } = selection.tree;
    const outcome = { local, selection, platform: selection.config?.platform ?? info.platform };
    if (
      before !== null &&
      before.id === expected &&
      (info.imageStore !== "oci-layout" || (await whole(store, selection)))
    ) {
      for (const layer of layers) this.#progress.finish(layer.digest, "exists", layer.size);
      return { ...outcome, results: this.#early, id: before.id, previousId: null, unchanged: true };
    }
    for (const layer of layers) this.#progress.report(layer.digest, "waiting", 0, layer.size);
    const previousId = before === null || before.id === expected ? null : before.id;
    const byEngine = await this.#byEngine(selection, local);
    if (byEngine !== null) {
      this.#finish(selection, byEngine);
      const results = new Map([...byEngine, ...this.#early]);
      return { ...outcome, results, id: selection.root.digest, previousId, unchanged: false };
    }
    const present = await this.#layersInEngine(selection);
    const wanted = selection.tree.blobs.filter((blob) => !present.has(blob.digest));
    const needed = () => diskNeed(store, this.#repository, wanted);
    await this.#context.requireSpace(await needed());
    const downloaded = await sayingDiskNeed(store, needed, () => this.#download(store, wanted, selection));
    const results = new Map([...downloaded, ...this.#early]);
    await copyManifests(selection.tree.manifests, store, signal);
    const imported = this.#engine.importImage(selection.root, {
      from: store,
      names: [local],
      platform: isIndexType(selection.root.mediaType) ? null : (selection.config?.platform ?? null),
      signal,
      progress: this.#progress,
    });
    const { id } = await imported.catch((error: unknown) => {
      throw atEngine(error);
    });
    this.#finish(selection, results);
    if (info.imageStore !== "oci-layout") {
      // Pushing what was pulled sends the original bytes: the engine itself forgets them.
      await this.#remember(store, id, selection);
    }
    await this.#context.trimCache();
    return { ...outcome, results, id, previousId, unchanged: false };
  }

  #finish({ tree }: Selection, results: ReadonlyMap<Digest, PutResult>): void {
    for (const { digest, size } of tree.layers) {
      this.#progress.finish(digest, results.get(digest)?.outcome === "stored" ? "done" : "exists", size);
    }
  }

  /** The engine's own pull of what was chosen, where it has one that is faster and takes it for the same; null otherwise. */
  async #byEngine({ root, tree, image, config }: Selection, local: LocalImage) {
    if (this.#engine.exchange === undefined || image === null || config === null) return null;
    const [context, engine, repository] = [this.#context, this.#engine, this.#repository];
    const [remote, options, progress, signal] = [this.#remote, this.#options, this.#progress, this.#signal];
    const platform = isIndexType(root.mediaType) ? null : config.platform;
    const request = { context, engine, repository, remote, options, platform, progress, signal };
    return await pullByEngine(request, { root, layers: tree.layers }, local);
  }

  /** Reads manifests down to what the engine takes: an image, an index with the engine's part, or an index whole. */
  async #select(store: LayoutStore, info: EngineInfo, top: RawManifest): Promise<Selection> {
    const signal = this.#signal;
    const read = async (descriptor: Descriptor): Promise<RawManifest> => {
      if (descriptor.digest === top.descriptor.digest) return top;
      return await this.#repository.manifest(descriptor.digest, { signal });
    };
    const platform = wantedPlatform(this.#options.platform, this.#context.config.platform, info.platform);
    if (top.manifest.kind === "index" && platform === null) {
      if (info.imageStore !== "oci-layout" && info.imageStore !== "containerd") {
        throw new LadingError("unsupported", `${this.#engine.kind} keeps one platform of an image, not all of them`, {
          side: "destination",
          hint: "leave --platform all out, or pull with --engine store",
        });
      }
      return { top, root: top.descriptor, tree: await walkTree(top.descriptor, read), image: null, config: null };
    }
    const { image, entry } = await selectManifest(top, platform ?? info.platform, read);
    const config = await this.#config(store, image);
    this.#noteOtherPlatform(platform ?? info.platform, config?.platform ?? null);
    // Docker keeps an index for the platform that it runs; another platform's image goes in by itself.
    const own = platform === null || formatPlatform(platform) === formatPlatform(info.platform);
    if (entry === null || info.imageStore !== "containerd" || !own) {
      return { top, root: image.descriptor, tree: await walkTree(image.descriptor, read), image, config };
    }
    // The engine's ID is the index's digest: the index goes along, with this platform and its attestations.
    const belongs = belongsTo(entry);
    const tree = await walkTree(top.descriptor, read, {
      follow: (child, index) => index.digest !== top.descriptor.digest || belongs(child),
    });
    return { top, root: top.descriptor, tree, image, config };
  }

  /** An image without an index leaves no choice, and may be for another machine than its user thinks. */
  #noteOtherPlatform(wanted: Platform, found: Platform | null): void {
    if (found === null || (found.os === wanted.os && found.architecture === wanted.architecture)) return;
    this.#context.warn(`${this.#remote} is for ${formatPlatform(found)} alone, not for ${formatPlatform(wanted)}`);
  }

  /** The config is small and says which layers the engine may have already: it comes first. */
  async #config(store: LayoutStore, image: RawManifest): Promise<ImageConfig | null> {
    if (image.manifest.kind !== "image" || image.manifest.config.size > limits.config) return null;
    if (!/\b(?:image\.config|container\.image)\b/.test(image.manifest.config.mediaType)) return null;
    const { config } = image.manifest;
    for (const [digest, result] of await this.#download(store, [config], null)) this.#early.set(digest, result);
    const bytes = await readVerified(store, config, { limit: "config", signal: this.#signal });
    return parseImageConfig(bytes);
  }

  /** Compressed digests of the layers that the engine has unpacked already. */
  async #layersInEngine({ image, config }: Selection): Promise<ReadonlySet<Digest>> {
    const present = new Set<Digest>();
    if (image?.manifest.kind !== "image" || config === null) return present;
    const diffIds = config.diffIds.filter(isDigest);
    const { layers } = image.manifest;
    if (diffIds.length !== layers.length) return present;
    const known = await this.#engine.knownLayers(diffIds, this.#signal);
    for (const [index, layer] of layers.entries()) {
      const diffId = diffIds[index];
      if (diffId !== undefined && known.has(diffId)) present.add(layer.digest);
    }
    return present;
  }

  async #download(
    store: LayoutStore,
    blobs: readonly Descriptor[],
    selection: Selection | null,
  ): Promise<ReadonlyMap<Digest, PutResult>> {
    const layers = new Set(selection?.tree.layers.map((layer) => layer.digest));
    const credential = this.#context.credential(this.#options);
    const { results } = await copyBlobs(blobs, {
      source: this.#repository,
      destination: store,
      destinationVerifies: true,
      shareFiles: true,
      limiter: this.#context.blobs,
      shared: this.#context.shared,
      sharedKey: `pull ${this.#context.identity(this.#repository)}`,
      signal: this.#signal,
      onEvent: (descriptor, event) => {
        if (event.kind === "retrying" && isLadingError(event.reason) && event.reason.code === "digest-mismatch") {
          this.#context.warn(`${descriptor.digest} did not arrive as it is there: fetching it again`);
        }
        if (layers.has(descriptor.digest)) this.#report(descriptor, event);
      },
      onBlob: ({ digest }) => this.#context.mounts.note(this.#repository, credential, digest),
    });
    return results;
  }

  #report(descriptor: Descriptor, event: BlobEvent): void {
    const { digest, size } = descriptor;
    if (event.kind === "checking") this.#progress.report(digest, "checking", 0, size);
    else if (event.kind === "retrying") this.#progress.report(digest, "retrying", event.current, null);
    else this.#progress.report(digest, "downloading", event.current, size);
  }

  async #remember(store: LayoutStore, id: Digest, selection: Selection): Promise<void> {
    const { image, config, root } = selection;
    if (image?.manifest.kind === "image" && config !== null) {
      for (const [index, layer] of image.manifest.layers.entries()) {
        const diffId = config.diffIds[index];
        if (isDigest(diffId)) await store.rememberLayer(diffId, layer);
      }
    }
    await store.rememberManifest(id, "original", "", root);
  }
}

/** A reference by digest alone gets the digest's first 12 hex digits as its local tag. */
function digestName(context: ClientContext, remote: RemoteImage, digest: Digest): LocalImage {
  const tag = digestHex(digest).slice(0, 12);
  return new LocalImage(context.parser.toLocal(remote.withTag(tag)).name, tag);
}

/** What the engine will call the image, so that one that is there already is not pulled again. */
function expectedId(info: EngineInfo, { root, image }: Selection): Digest | null {
  if (info.imageStore === "containerd" || info.imageStore === "oci-layout") return root.digest;
  return image?.manifest.kind === "image" ? image.manifest.config.digest : null;
}

/** What somebody wrote to on the disk is not taken for whole: it is fetched again. */
async function whole(store: LayoutStore, { tree }: Selection): Promise<boolean> {
  const needed = [...tree.blobs, ...tree.manifests.map(({ descriptor }) => descriptor)];
  const there = await Promise.all(needed.map((blob) => store.intact(blob)));
  return there.every(Boolean);
}
