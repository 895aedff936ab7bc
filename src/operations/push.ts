import { convertManifests } from "../content/convert.js";
import { copyBlobs, copyManifests, rootOf } from "../content/copy.js";
import { type ImageFormat, imageFormats, type TransferStore } from "../content/layer-cache.js";
import type { ContentSource } from "../content/store.js";
import { readVerified } from "../content/verify.js";
import { type ContentTree, manifestReader, walkTree } from "../content/walk.js";
import type { EngineImage, EngineInfo, EngineKind, LocalEngine } from "../engines/engine.js";
import { isLadingError, LadingError } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { parseImageConfig } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";
import { choosePlatform, formatPlatform, type Platform } from "../oci/platform.js";
import type { Repository } from "../registry/repository.js";
import { checkedChoice } from "./call-options.js";
import type { CallOptions, ClientContext } from "./context.js";
import { pushByEngine } from "./engine-exchange.js";
import { type PushOutcome, type PushResult, pushResult } from "./push-result.js";
import { indexPlatforms, type PlatformOption, wantedPlatform } from "./selection.js";
import { pointTag, refuseMoved, targetTags } from "./target-tags.js";
import { type TransferProgress, withProgress } from "./transfer-progress.js";

/** Options of `push`. */
export interface PushOptions extends CallOptions {
  readonly progress?: ImageProgress | null | undefined;
  /** `os/architecture[/variant]` narrows an index to one image. Default: an index is sent whole. */
  readonly platform?: PlatformOption;
  /** Further tags that the image gets, beside the one of `remote`. */
  readonly tags?: readonly string[] | null | undefined;
  /** Refuse (`conflict`) where a tag exists and points at something else. @default false */
  readonly noClobber?: boolean | null | undefined;
  /** Media types of the manifest. Default: as the image has them; `docker` for an engine that keeps no manifest. */
  readonly format?: ImageFormat | null | undefined;
}

/** Blobs first, then manifests, then tags: a reader never sees an image that is not whole. */
export async function push(
  context: ClientContext,
  local: LocalImage | Digest,
  remote: RemoteImage,
  options: PushOptions,
  callerSignal: AbortSignal,
): Promise<PushResult> {
  const started = performance.now();
  const tags = targetTags(remote, options.tags);
  checkedChoice("format", options.format, imageFormats);
  const { engine, kind } = await context.engine(callerSignal);
  const transfer = async (progress: TransferProgress, signal: AbortSignal) => {
    // An engine takes 30 ms and more to say what it is: until that is needed, other things are done.
    void engine.info(signal).catch(() => undefined);
    const repository = await context.repository(remote, "destination", options);
    const src = local instanceof LocalImage ? local : new LocalImage(local.replace(":", "-"), null);
    progress.push({ src, dst: remote });
    const request = { local, remote, tags, options, progress, signal };
    const running = new Push(context, engine, repository, request);
    const outcome = await context.holding(() => running.run());
    return pushResult({ local, remote, tags, kind, ...outcome, seconds: (performance.now() - started) / 1000 });
  };
  return await context.transfers.run(() => withProgress(options.progress, callerSignal, transfer), callerSignal);
}

interface PushRequest {
  readonly local: LocalImage | Digest;
  readonly remote: RemoteImage;
  readonly tags: readonly string[];
  readonly options: PushOptions;
  readonly progress: TransferProgress;
  readonly signal: AbortSignal;
}

class Push {
  readonly #context: ClientContext;
  readonly #engine: LocalEngine;
  readonly #repository: Repository;
  readonly #request: PushRequest;

  constructor(context: ClientContext, engine: LocalEngine, repository: Repository, request: PushRequest) {
    this.#context = context;
    this.#engine = engine;
    this.#repository = repository;
    this.#request = request;
  }

  async run(): Promise<PushOutcome> {
    const { local, options, signal } = this.#request;
    const image = await this.#engine.inspect(local, signal);
    if (image === null) throw notLocal(this.#engine.kind, local);
    const platform = wantedPlatform(options.platform, this.#context.config.platform, null);
    const store = await this.#context.store();
    const outcome = await this.#send(store, image, platform);
    // What the store may lose from here on can be had from there.
    if (this.#engine.kind === "store") await this.#context.rememberOrigin(image.id, this.#request.remote);
    return outcome;
  }

  async #send(store: TransferStore, image: EngineImage, platform: Platform | null): Promise<PushOutcome> {
    const known = await this.#knownTree(store, image, platform);
    const unchanged = known === null ? null : await this.#alreadyThere(known);
    const info = await this.#engine.info(this.#request.signal);
    this.#context.debug(`images of ${info.kind} go out by: ${info.moves}`);
    if (known !== null && unchanged !== null) {
      return { tree: known, ...(await this.#about(known, info, store)), results: new Map(), unchanged };
    }
    const transferred =
      (await this.#byEngine(store, image, platform)) ?? (await this.#transfer(store, info, image, platform, known));
    const [about] = await Promise.all([this.#about(transferred.tree, info, store), this.#context.trimCache()]);
    return { ...transferred, ...about };
  }

  /**
   * The image's tree where it is known without an export: of an image that was pushed before, the store remembers
   * the manifest. Its blobs need not be here any more.
   */
  async #knownTree(store: TransferStore, image: EngineImage, platform: Platform | null): Promise<ContentTree | null> {
    const { format } = this.#request.options;
    const remembered = await store.manifestFor(image.id, format ?? "original", platformKey(platform));
    if (remembered === null) return null;
    try {
      const tree = await walkTree(remembered, manifestReader(store, this.#request.signal));
      return format ? convertTree(tree, format) : tree;
    } catch (error) {
      if (isLadingError(error) && error.code === "not-found") return null; // Evicted from the cache: exported again.
      throw error;
    }
  }

  /** The platforms of an image and the manifest of the engine's own one. */
  async #about(
    tree: ContentTree,
    info: EngineInfo,
    store: ContentSource,
  ): Promise<Pick<PushOutcome, "manifestDigest" | "platforms">> {
    const { signal } = this.#request;
    const byDigest = new Map(tree.manifests.map((raw) => [raw.descriptor.digest, raw]));
    const root = byDigest.get(tree.root.digest);
    if (root?.manifest.kind === "image") {
      const { config } = root.manifest;
      const source = (await store.has(config, { signal })) ? store : this.#repository;
      return { manifestDigest: tree.root.digest, platforms: await configPlatforms(source, config, signal) };
    }
    const entries = root?.manifest.kind === "index" ? root.manifest.manifests : [];
    const own = choosePlatform(entries, info.platform);
    return { manifestDigest: own?.digest ?? null, platforms: indexPlatforms(entries) };
  }

  /** Null where something has to move; else whether nothing at all had to change. */
  async #alreadyThere(tree: ContentTree): Promise<boolean | null> {
    const { tags, options, signal, progress } = this.#request;
    const heads = await Promise.all(tags.map((tag) => this.#repository.resolve(tag, { signal })));
    const moved = tags.filter((_tag, index) => heads[index]?.digest !== tree.root.digest);
    if (options.noClobber) refuseMoved(tags, heads, tree.root.digest, this.#request.remote);
    const whole = moved.length < tags.length || (await this.#repository.has(tree.root, { signal }));
    if (!whole) return null;
    await this.#pointTags(tree, moved);
    for (const layer of tree.layers) progress.finish(layer.digest, "exists", layer.size);
    return moved.length === 0;
  }

  async #isTagged({ root }: ContentTree): Promise<boolean> {
    const { tags, signal } = this.#request;
    const heads = await Promise.all(tags.map((tag) => this.#repository.resolve(tag, { signal })));
    return heads.every((head) => head?.digest === root.digest);
  }

  async #refuseToMove(digest: Digest): Promise<void> {
    const { tags, signal, remote } = this.#request;
    const heads = await Promise.all(tags.map((tag) => this.#repository.resolve(tag, { signal })));
    refuseMoved(tags, heads, digest, remote);
  }

  /** The engine's own push, where it has one that is faster; null otherwise. */
  async #byEngine(
    store: TransferStore,
    image: EngineImage,
    platform: Platform | null,
  ): Promise<Pick<PushOutcome, "tree" | "results" | "unchanged"> | null> {
    const { options, remote, progress, signal, tags } = this.#request;
    const [first = "latest", ...more] = tags;
    // A tag that must not move is looked at between the blobs and the manifest, which is not the engine's way.
    if (this.#engine.exchange === undefined || options.format || options.noClobber) return null;
    const [context, engine, repository] = [this.#context, this.#engine, this.#repository];
    const request = { context, engine, repository, remote, options, platform, progress, signal };
    const pushed = await pushByEngine(request, image, first);
    if (pushed === null) return null;
    const { tree, results, there } = pushed;
    const unchanged = there && (more.length === 0 || (await this.#isTagged(tree)));
    if (!unchanged) await this.#pointTags(tree, more);
    await copyManifests(tree.manifests, store, signal);
    await store.rememberManifest(image.id, "original", platformKey(platform), tree.root);
    return { tree, results, unchanged };
  }

  async #transfer(
    store: TransferStore,
    info: EngineInfo,
    image: EngineImage,
    platform: Platform | null,
    known: ContentTree | null,
  ): Promise<Pick<PushOutcome, "tree" | "results" | "unchanged">> {
    const { options, progress, signal } = this.#request;
    for (const layer of known?.layers ?? []) progress.report(layer.digest, "waiting", 0, layer.size);
    const copy = () => this.#copyBlobs(store, platform, known);
    // The store engine only reads its own files; the others work hard for an export.
    const exporting = info.imageStore === "oci-layout" ? copy() : this.#context.exports.run(copy, signal);
    const { results, manifests } = await exporting;
    const original = await walkTree(rootOf(manifests), manifestReader(store, signal));
    const tree = options.format ? convertTree(original, options.format) : original;
    await copyManifests(tree.manifests, store, signal);
    await store.rememberManifest(image.id, options.format ?? "original", platformKey(platform), tree.root);
    if (options.noClobber) await this.#refuseToMove(tree.root.digest);
    // Of an image that was only exported to see that the registry has it, nothing has changed.
    const unchanged =
      [...results.values()].every(({ outcome }) => outcome === "exists") && (await this.#isTagged(tree));
    if (!unchanged) {
      await copyManifests(tree.manifests.slice(0, -1), this.#repository, signal);
      await this.#pointTags(tree, this.#request.tags);
    }
    return { tree, results, unchanged };
  }

  async #copyBlobs(store: TransferStore, platform: Platform | null, known: ContentTree | null) {
    const { local, options, progress, signal } = this.#request;
    const knownLayers = known === null ? null : new Set(known.layers.map((layer) => layer.digest));
    const isLayer = ({ digest, mediaType }: Descriptor) => knownLayers?.has(digest) ?? !configTypes.has(mediaType);
    const format = options.format ?? "docker";
    const { mounts } = this.#context;
    const credential = this.#context.credential(options);
    return await copyBlobs(this.#engine.exportImage(local, { into: store, platform, format, signal, progress }), {
      source: store,
      destination: this.#repository,
      limiter: this.#context.blobs,
      shared: this.#context.shared,
      sharedKey: `push ${this.#context.identity(this.#repository)}`,
      mountFrom: ({ digest }) => mounts.of(this.#repository, credential, digest),
      shareFiles: true,
      sourceVerified: true,
      signal,
      onEvent: (descriptor, event) => {
        if (!isLayer(descriptor)) return;
        if (event.kind === "checking") progress.report(descriptor.digest, "checking", 0, descriptor.size);
        else if (event.kind === "retrying") progress.report(descriptor.digest, "retrying", event.current, null);
        else progress.report(descriptor.digest, "uploading", event.current, descriptor.size);
      },
      onBlob: (descriptor, { outcome }) => {
        mounts.note(this.#repository, credential, descriptor.digest);
        if (isLayer(descriptor)) {
          progress.finish(descriptor.digest, outcome === "stored" ? "done" : outcome, descriptor.size);
        }
      },
    });
  }

  async #pointTags(tree: ContentTree, tags: readonly string[]): Promise<void> {
    const { options, remote, signal } = this.#request;
    for (const tag of tags) {
      await pointTag(this.#repository, tree, remote.withTag(tag), { noClobber: options.noClobber === true, signal });
    }
  }
}

/** Types of configs, which are not reported as layers. */
const configTypes: ReadonlySet<string> = new Set([mediaTypes.ociConfig, mediaTypes.dockerConfig, mediaTypes.ociEmpty]);

function platformKey(platform: Platform | null): string {
  return platform === null ? "" : formatPlatform(platform);
}

/** The platform that an image's config says; none for an artifact. */
async function configPlatforms(
  source: ContentSource,
  config: Descriptor,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (config.mediaType === mediaTypes.ociEmpty || !configTypes.has(config.mediaType)) return [];
  const { platform } = parseImageConfig(await readVerified(source, config, { limit: "config", signal }));
  return platform.os === "" ? [] : [formatPlatform(platform)];
}

function convertTree(tree: ContentTree, format: ImageFormat): ContentTree {
  const manifests = convertManifests(tree.manifests, format);
  return { ...tree, manifests, root: manifests.at(-1)?.descriptor ?? tree.root };
}

/** @internal */
export function notLocal(kind: EngineKind, local: LocalImage | Digest): LadingError {
  const where = kind === "store" ? "Lading's own store" : kind === "docker" ? "Docker" : "Podman";
  return new LadingError("not-found", `${where} has no image ${local}`, {
    side: "source",
    image: String(local),
    hint: "`lading images` lists what is there; --engine chooses another engine",
  });
}
