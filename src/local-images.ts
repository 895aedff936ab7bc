import type { EngineAttempt, EngineKind } from "./engines/engine.js";
import { LocalImage } from "./image/local-image.js";
import { type Digest, isDigest } from "./oci/digest.js";
import { type CallOptions, misused } from "./operations/call-options.js";
import type { ClientContext } from "./operations/context.js";
import type { ImportOptions, ImportResult, ImportSource } from "./operations/import.js";
import type { InspectResult } from "./operations/inspect.js";
import type { LoadOptions, LoadResult, LoadSource } from "./operations/load.js";
import type { LocalListOptions, LocalListResult } from "./operations/local.js";
import type { PruneOptions, PruneResult } from "./operations/prune.js";
import type { RepairOptions, RepairResult } from "./operations/repair.js";
import type { SaveOptions, SaveResult, SaveTarget } from "./operations/save.js";
import type { VerifyOptions, VerifyResult } from "./operations/verify.js";

/** Which engine is used, and why. */
export interface EngineChoice {
  readonly kind: EngineKind;
  readonly reason: string;
  readonly tried: readonly EngineAttempt[];
}

/** What a call that asks no registry may be given. */
export type WaitOptions = Pick<CallOptions, "signal">;

/** The images of the engine in use: Docker, Podman or Lading's own store. */
export class LocalImages {
  readonly #context: ClientContext;

  /** @internal */
  constructor(context: ClientContext) {
    this.#context = context;
  }

  /**
   * The engine in use, to be awaited: it is looked for at the first call that needs one. Once that is known, the
   * fields stand on the promise itself too.
   * @throws LadingError `engine-unavailable`
   */
  get engine(): Promise<EngineChoice> & Partial<EngineChoice> {
    const known = this.#context.detected;
    const found: Promise<EngineChoice> & Partial<EngineChoice> = this.detect();
    if (known !== null) return Object.assign(found, choiceOf(known));
    found.then(
      (choice) => Object.assign(found, choice),
      // Who only looks at the fields awaits nothing.
      () => undefined,
    );
    return found;
  }

  detect(options: WaitOptions | null = null): Promise<EngineChoice> {
    return this.#context.run("engine", { options }, async (signal) => choiceOf(await this.#context.engine(signal)));
  }

  list(options: (LocalListOptions & WaitOptions) | null = null): Promise<LocalListResult> {
    return this.#context.run("images", { options }, async (signal) => {
      const { listLocal } = await import("./operations/local.js");
      return await listLocal(this.#context, options ?? {}, signal);
    });
  }

  inspect(local: LocalImage | string, options: WaitOptions | null = null): Promise<InspectResult> {
    return this.#context.run("inspect", { options, image: local }, async (signal) => {
      const { inspectLocal } = await import("./operations/inspect.js");
      return await inspectLocal(this.#context, reference(local), signal);
    });
  }

  /** Gives an image one more name. */
  tag(local: LocalImage | string, name: LocalImage, options: WaitOptions | null = null): Promise<LocalImage> {
    return this.#context.run("tag", { options, image: local }, async (signal) => {
      const { tagLocal } = await import("./operations/local.js");
      return await tagLocal(this.#context, reference(local), LocalImage.from(name), signal);
    });
  }

  /** Removes a name, and the image with its last one. */
  remove(
    local: LocalImage | string,
    options: ({ readonly force?: boolean | null | undefined } & WaitOptions) | null = null,
  ): Promise<void> {
    return this.#context.run("rmi", { options, image: local }, async (signal) => {
      const { removeLocal } = await import("./operations/local.js");
      await removeLocal(this.#context, reference(local), { force: options?.force ?? false }, signal);
    });
  }

  /** Reads a docker-archive, an OCI archive or an OCI layout folder into the engine. */
  load(source: LoadSource, options: (LoadOptions & WaitOptions) | null = null): Promise<LoadResult> {
    return this.#context.run("load", { options }, async (signal) => {
      const { load } = await import("./operations/load.js");
      return await load(this.#context, source, options ?? {}, signal);
    });
  }

  /** Writes images as a docker-archive, an OCI archive or an OCI layout folder. */
  save(
    locals: readonly (LocalImage | string)[],
    target: SaveTarget,
    options: (SaveOptions & WaitOptions) | null = null,
  ): Promise<SaveResult> {
    return this.#context.run("save", { options, image: locals }, async (signal) => {
      const { save } = await import("./operations/save.js");
      return await save(this.#context, references(locals) ?? [], target, options ?? {}, signal);
    });
  }

  /** Makes a one-layer image of a folder or a tar, the same digest each time. */
  import(
    source: ImportSource,
    name: LocalImage,
    options: (ImportOptions & WaitOptions) | null = null,
  ): Promise<ImportResult> {
    return this.#context.run("import", { options, image: name }, async (signal) => {
      const { importImage } = await import("./operations/import.js");
      return await importImage(this.#context, source, LocalImage.from(name), options ?? {}, signal);
    });
  }

  /**
   * Reads all that is in Lading's own store (whatever engine is in use), or what some of its images need, and says what is wrong.
   * Nothing is changed. The result is `ok`, or has `problems`.
   * @param locals Names, or digests of images. @default null, everything in the store
   * @throws LadingError `not-found` for a name that the store does not have, `cancelled`
   */
  verify(
    locals: readonly (LocalImage | string)[] | null = null,
    options: (VerifyOptions & WaitOptions) | null = null,
  ): Promise<VerifyResult> {
    return this.#context.run("verify", { options, image: locals ?? undefined }, async (signal) => {
      const { verify } = await import("./operations/verify.js");
      return await verify(this.#context, references(locals), options ?? {}, signal);
    });
  }

  /**
   * Moves aside what is damaged in Lading's own store, and fetches it again from where its image came from or went to. What could not
   * be mended is in `repairs` with its `error`.
   * @param locals Names, or digests of images. @default null, everything in the store
   * @throws LadingError `not-found` for a name that the store does not have, `io`, `cancelled`
   */
  repair(
    locals: readonly (LocalImage | string)[] | null = null,
    options: (RepairOptions & WaitOptions) | null = null,
  ): Promise<RepairResult> {
    return this.#context.run("repair", { options, image: locals ?? undefined }, async (signal) => {
      const { repair } = await import("./operations/repair.js");
      return await repair(this.#context, references(locals), options ?? {}, signal);
    });
  }

  /**
   * Removes from Lading's own store what none of its images needs: blobs, cached layers of other engines, partial downloads, damaged
   * blobs that were put aside. Safe while transfers run.
   * @throws LadingError `digest-mismatch` where a damaged manifest leaves open what is needed: nothing is removed then; `io`, `cancelled`
   */
  prune(options: (PruneOptions & WaitOptions) | null = null): Promise<PruneResult> {
    return this.#context.run("prune", { options }, async (signal) => {
      const { prune } = await import("./operations/prune.js");
      return await prune(this.#context, options ?? {}, signal);
    });
  }
}

function choiceOf({ kind, reason, tried }: EngineChoice): EngineChoice {
  return { kind, reason, tried };
}

function references(locals: readonly (LocalImage | string)[] | null): readonly (LocalImage | Digest)[] | null {
  if (locals === null) return null;
  if (!Array.isArray(locals)) throw misused("images", "a list of local images");
  return locals.map(reference);
}

function reference(local: LocalImage | string): LocalImage | Digest {
  return isDigest(local) ? local : LocalImage.from(local);
}
