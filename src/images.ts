// Longer than 300 lines: the whole face of the reference in one file, a line of work a method.

import { LadingError } from "./errors.js";
import { LocalImage } from "./image/local-image.js";
import { isTag } from "./image/reference.js";
import { RemoteImage } from "./image/remote-image.js";
import type { Tag } from "./image/tag.js";
import { type Digest, isDigest, parseDigest } from "./oci/digest.js";
import type { CallOptions, ClientContext } from "./operations/context.js";
import type { CopyAllResult, CopyOptions, CopyResult } from "./operations/copy.js";
import type { InspectOptions, InspectResult } from "./operations/inspect.js";
import type { ListOptions, ListResult } from "./operations/list.js";
import type { PullOptions } from "./operations/pull.js";
import type { PullResult } from "./operations/pull-result.js";
import type { PushOptions } from "./operations/push.js";
import type { PushResult } from "./operations/push-result.js";
import type { RemovalOptions } from "./operations/removal-plan.js";
import type { RemovalResult } from "./operations/remove.js";
import type { DigestResult, PlatformedOptions, SizeResult } from "./operations/size.js";
import type { TagInfoResult, TagsOptions, TagsResult } from "./operations/tags.js";

/**
 * The Docker image subsystem of the reference: pushes images out of a local engine to a registry, pulls them back, and
 * looks at what the registry has. Beside each method of the reference stands a `…Detailed` one whose result is the CLI's
 * `--json`.
 *
 * Every method rejects with a LadingError; `signal` cancels it (`cancelled`, or `timeout` for a TimeoutError).
 */
export class Images {
  readonly #context: ClientContext;

  /** @internal */
  constructor(context: ClientContext) {
    this.#context = context;
  }

  /**
   * Pushes a local image, and resolves once the registry has the manifest under its tag.
   * @param remote Default: the current cluster, organisation and owner with the local name and tag.
   * @returns `remote` as it was given, or the one that was computed.
   */
  async push(
    local: LocalImage,
    remote: RemoteImage | null = null,
    options: PushOptions | null = null,
  ): Promise<RemoteImage> {
    const result = await this.pushDetailed(local, remote, options);
    return remote ?? result.remote;
  }

  /** {@link push}, with what happened. A local image may be an image ID here (`sha256:…`); then `remote` is needed. */
  pushDetailed(
    local: LocalImage | string,
    remote: RemoteImage | null = null,
    options: PushOptions | null = null,
  ): Promise<PushResult> {
    return this.#run("push", options, local, async (signal) => {
      const from = localReference(local);
      const to = remote === null ? this.#context.parser.toRemote(named(from)) : RemoteImage.from(remote);
      const { push } = await import("./operations/push.js");
      return await push(this.#context, from, to, options ?? {}, signal);
    });
  }

  /**
   * Pulls an image into the local engine, and resolves once the engine has it under its name.
   * @param local Default: the name and tag of `remote`.
   * @returns `local` as it was given, or the one that was computed.
   */
  async pull(
    remote: RemoteImage,
    local: LocalImage | null = null,
    options: PullOptions | null = null,
  ): Promise<LocalImage> {
    const result = await this.pullDetailed(remote, local, options);
    return local ?? result.local;
  }

  /** {@link pull}, with what happened. */
  pullDetailed(
    remote: RemoteImage,
    local: LocalImage | null = null,
    options: PullOptions | null = null,
  ): Promise<PullResult> {
    return this.#run("pull", options, remote, async (signal) => {
      const { pull } = await import("./operations/pull.js");
      const to = local === null ? null : LocalImage.from(local);
      return await pull(this.#context, RemoteImage.from(remote), to, options ?? {}, signal);
    });
  }

  /** Copies from registry to registry; with `allTags`, every tag of a repository. */
  copy(
    source: RemoteImage,
    destination: RemoteImage,
    options: CopyOptions & { readonly allTags: true },
  ): Promise<CopyAllResult>;
  copy(
    source: RemoteImage,
    destination: RemoteImage,
    options?: (CopyOptions & { readonly allTags?: false | null | undefined }) | null,
  ): Promise<CopyResult>;
  copy(
    source: RemoteImage,
    destination: RemoteImage,
    options: CopyOptions | null = null,
  ): Promise<CopyResult | CopyAllResult> {
    return this.#run("copy", options, source, async (signal) => {
      const { copy, copyAll } = await import("./operations/copy.js");
      const [from, to] = [RemoteImage.from(source), RemoteImage.from(destination)];
      return options?.allTags
        ? await copyAll(this.#context, from, to, options, signal)
        : await copy(this.#context, from, to, options ?? {}, signal);
    });
  }

  /** The digest of what the reference points at: a manifest's or an index's; with `platform`, that image's. */
  async digest(remote: RemoteImage, options: PlatformedOptions | null = null): Promise<string> {
    return (await this.digestDetailed(remote, options)).digest;
  }

  digestDetailed(remote: RemoteImage, options: PlatformedOptions | null = null): Promise<DigestResult> {
    return this.#run("digest", options, remote, async (signal) => {
      const { digest } = await import("./operations/size.js");
      return await digest(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  /**
   * Deletes a manifest by digest, with every tag that points at it.
   * @param digest As {@link Images.digest} gives it.
   * @returns The digest that was deleted.
   */
  rm(remote: RemoteImage, digest: string, options: CallOptions | null = null): Promise<string> {
    return this.#run("rm", options, remote, async (signal) => {
      const { removeDigest } = await import("./operations/remove.js");
      return await removeDigest(this.#context, RemoteImage.from(remote), parseDigest(digest), options ?? {}, signal);
    });
  }

  /** What {@link remove} would take away; nothing is removed. */
  planRemoval(
    remotes: RemoteImage | readonly RemoteImage[],
    options: RemovalOptions | null = null,
  ): Promise<RemovalResult> {
    return this.#run("rm", options, remotes, async (signal) => {
      const { planRemoval } = await import("./operations/remove.js");
      return await planRemoval(this.#context, several(remotes), options ?? {}, signal);
    });
  }

  /** Removes tags and digests as the CLI's `rm` does; a failure of one is in its row. */
  remove(remotes: RemoteImage | readonly RemoteImage[], options: RemovalOptions | null = null): Promise<RemovalResult> {
    return this.#run("rm", options, remotes, async (signal) => {
      const { remove } = await import("./operations/remove.js");
      return await remove(this.#context, several(remotes), options ?? {}, signal);
    });
  }

  /** Removes one tag, and its manifest only if no other tag, index or referrer uses it. */
  removeTag(remote: RemoteImage, options: RemovalOptions | null = null): Promise<RemovalResult> {
    return this.#run("rm", options, remote, async (signal) => {
      const { removeTag } = await import("./operations/remove.js");
      return await removeTag(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  /**
   * The images of a cluster's registry, without tags.
   * @param clusterName Default: the current cluster.
   */
  async list(clusterName: string | null = null, options: ListOptions | null = null): Promise<RemoteImage[]> {
    return [...(await this.listDetailed(clusterName, options)).images];
  }

  listDetailed(clusterName: string | null = null, options: ListOptions | null = null): Promise<ListResult> {
    return this.#run("ls", options, clusterName ?? undefined, async (signal) => {
      const { list } = await import("./operations/list.js");
      return await list(this.#context, clusterName, options ?? {}, signal);
    });
  }

  /** {@link list}, a page at a time, as the registry gives them. */
  async *listPages(
    clusterName: string | null = null,
    options: ListOptions | null = null,
  ): AsyncGenerator<readonly RemoteImage[]> {
    const { listPages } = await import("./operations/list.js");
    yield* this.#pages("ls", options, clusterName ?? undefined, (signal) =>
      listPages(this.#context, clusterName, options ?? {}, signal),
    );
  }

  /** The tags of a repository, each as an image with its tag. @throws LadingError `bad-reference` where `remote` has a tag */
  async tags(remote: RemoteImage, options: TagsOptions | null = null): Promise<RemoteImage[]> {
    const { image, tags } = await this.tagsDetailed(remote, options);
    return this.#tagged(
      image,
      tags.map(({ tag }) => tag),
    );
  }

  tagsDetailed(remote: RemoteImage, options: TagsOptions | null = null): Promise<TagsResult> {
    return this.#run("tags", options, remote, async (signal) => {
      const { tags } = await import("./operations/tags.js");
      return await tags(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  /** {@link tags}, a page at a time. */
  async *tagPages(remote: RemoteImage, options: CallOptions | null = null): AsyncGenerator<readonly RemoteImage[]> {
    const { tagPages } = await import("./operations/tags.js");
    const pages = this.#pages("tags", options, remote, (signal) =>
      tagPages(this.#context, RemoteImage.from(remote), options ?? {}, signal),
    );
    for await (const page of pages) yield this.#tagged(RemoteImage.from(remote), page);
  }

  /** What no reference can name is left out: a registry's odd tag must not hide the others. */
  #tagged(image: RemoteImage, tags: readonly string[]): RemoteImage[] {
    const odd = tags.filter((tag) => !isTag(tag));
    if (odd.length > 0) this.#context.warn(`left out of ${image}: ${JSON.stringify(odd[0])} can be no tag`);
    return tags.filter(isTag).map((tag) => image.withTag(tag));
  }

  /** Compressed bytes of the layers; of an index, of its distinct layers; with `platform`, of that image. */
  async size(remote: RemoteImage, options: PlatformedOptions | null = null): Promise<number> {
    return (await this.sizeDetailed(remote, options)).size;
  }

  sizeDetailed(remote: RemoteImage, options: PlatformedOptions | null = null): Promise<SizeResult> {
    return this.#run("size", options, remote, async (signal) => {
      const { size } = await import("./operations/size.js");
      return await size(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  /** Name and size (bytes) of a tag. */
  tagInfo(remote: RemoteImage, options: CallOptions | null = null): Promise<Tag> {
    return this.#run("info", options, remote, async (signal) => {
      const { tagInfo } = await import("./operations/tags.js");
      return await tagInfo(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  /** A tag's row of {@link tagsDetailed}, with all details. */
  info(remote: RemoteImage, options: CallOptions | null = null): Promise<TagInfoResult> {
    return this.#run("info", options, remote, async (signal) => {
      const { info } = await import("./operations/tags.js");
      return await info(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  /** Manifest, configs and layers of a reference. */
  inspect(remote: RemoteImage, options: InspectOptions | null = null): Promise<InspectResult> {
    return this.#run("inspect", options, remote, async (signal) => {
      const { inspect } = await import("./operations/inspect.js");
      return await inspect(this.#context, RemoteImage.from(remote), options ?? {}, signal);
    });
  }

  #run<T>(
    operation: string,
    options: CallOptions | null,
    image: unknown,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return this.#context.run(operation, { options, image }, task);
  }

  /** Each page is a call of its own: it fails when the client is closed, and the signal ends it. */
  async *#pages<T>(
    operation: string,
    options: CallOptions | null,
    image: unknown,
    open: (signal: AbortSignal) => AsyncGenerator<T>,
  ): AsyncGenerator<T> {
    const stop = new AbortController();
    const opened: { pages?: AsyncGenerator<T> } = {};
    try {
      for (;;) {
        const next = await this.#run(operation, options, image, () => {
          const signals = [this.#context.closing, stop.signal, ...(options?.signal ? [options.signal] : [])];
          opened.pages ??= open(AbortSignal.any(signals));
          return opened.pages.next();
        });
        if (next.done) return;
        yield next.value;
      }
    } finally {
      stop.abort();
      // Not waited for: what hangs in it has been told to stop.
      opened.pages?.return(undefined).catch(() => undefined);
    }
  }
}

function localReference(local: LocalImage | string): LocalImage | Digest {
  if (isDigest(local)) return local;
  return LocalImage.from(local);
}

function named(local: LocalImage | Digest): LocalImage {
  if (typeof local !== "string") return local;
  throw new LadingError("bad-reference", `${local} is an image ID: it says nothing about where to push it`, {
    hint: "name the remote image too",
  });
}

function several(remotes: RemoteImage | readonly RemoteImage[]): readonly RemoteImage[] {
  return (Array.isArray(remotes) ? remotes : [remotes]).map((remote: unknown) => RemoteImage.from(remote));
}
