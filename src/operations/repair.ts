import type { AuditedImage, ProblemKind, StoreProblem } from "../content/audit.js";
import type { LayoutStore } from "../content/layout.js";
import { isLadingError, LadingError, type LadingErrorJson, throwIfAborted } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { CallOptions, ClientContext } from "./context.js";
import { type TransferProgress, withProgress } from "./transfer-progress.js";
import { chosenImages, hintFor, imageLabel, sourcesOf } from "./verify.js";

/** Options of `repair`. */
export interface RepairOptions extends CallOptions {
  /** Steps of "store" while it is read, and of each blob that is fetched. */
  readonly progress?: ImageProgress | null | undefined;
}

/**
 * `fetched`: it is whole again. `aside`: it was damaged, no image needs it, and it was moved aside. `failed`: what is damaged was moved
 * aside, and there is nothing in its place.
 */
export type RepairAction = "fetched" | "aside" | "failed";

/** A damaged blob, and what became of it. */
export interface RepairedBlob {
  readonly kind: ProblemKind;
  /** Null for `index.json`. */
  readonly digest: string | null;
  /** Bytes that it should have; null where no image says. */
  readonly size: number | null;
  /** Names of the images that need it; the digest of one without a name. */
  readonly images: readonly string[];
  readonly action: RepairAction;
  /** Where it was fetched from: `host[:port]/path`. */
  readonly source: string | null;
  /** The file that the damaged bytes are in now. */
  readonly aside: string | null;
  readonly error: LadingErrorJson | null;
}

/** The result of `repair` as JSON; `ok` where no repair failed. */
export interface RepairJson {
  /** The store's folder. */
  readonly store: string;
  readonly ok: boolean;
  readonly checked: { readonly blobs: number; readonly bytes: number };
  readonly repairs: readonly RepairedBlob[];
}

/** What `repair` mended, and what it could not. */
export interface RepairResult extends RepairJson {
  toJSON(): RepairJson;
}

/** Moves aside what is damaged, and fetches it again from where its image came from or went to. */
export async function repair(
  context: ClientContext,
  locals: readonly (LocalImage | Digest)[] | null,
  options: RepairOptions,
  callerSignal: AbortSignal,
): Promise<RepairResult> {
  const store = await context.store();
  const json = await withProgress(options.progress, callerSignal, async (progress, signal) => {
    const release = await store.lease();
    try {
      const only = locals === null ? null : await chosenImages(context, locals);
      return await new Repair(context, store, options, progress, signal).run(only);
    } finally {
      await release();
    }
  });
  return { ...json, toJSON: () => json };
}

class Repair {
  readonly #context: ClientContext;
  readonly #store: LayoutStore;
  readonly #options: RepairOptions;
  readonly #progress: TransferProgress;
  readonly #signal: AbortSignal;
  readonly #sound = new Set<Digest>();
  readonly #done = new Map<string, RepairedBlob>();

  constructor(
    context: ClientContext,
    store: LayoutStore,
    options: RepairOptions,
    progress: TransferProgress,
    signal: AbortSignal,
  ) {
    this.#context = context;
    this.#store = store;
    this.#options = options;
    this.#progress = progress;
    this.#signal = signal;
  }

  async run(only: ((image: AuditedImage) => boolean) | null): Promise<RepairJson> {
    const { audit } = await import("../content/audit.js");
    const onBytes = (current: number, total: number) => this.#progress.report("store", "verifying", current, total);
    const checked = { blobs: 0, bytes: 0 };
    // What a manifest names is known only once it is here again: so there may be more to do after each round.
    for (let news = true; news; ) {
      news = false;
      const found = await audit(this.#store, { only, sound: this.#sound, onBytes, signal: this.#signal });
      checked.blobs += found.checked.blobs;
      checked.bytes += found.checked.bytes;
      for (const problem of found.problems) {
        const key = `${problem.digest}`;
        const before = this.#done.get(key);
        // Nothing seemed to need what was moved aside; now that its manifest is here again, something does.
        if (before !== undefined && before.action !== "aside") continue;
        const mended = await this.#mend(problem);
        this.#done.set(key, before === undefined ? mended : { ...mended, kind: before.kind, aside: before.aside });
        news = true;
      }
    }
    this.#progress.finishRest();
    const repairs = [...this.#done.values()];
    const ok = repairs.every(({ action }) => action !== "failed");
    return { store: this.#store.directory, ok, checked, repairs };
  }

  async #mend(problem: StoreProblem): Promise<RepairedBlob> {
    const { kind, digest, descriptor, images } = problem;
    const about = { kind, digest, size: descriptor?.size ?? null, images: images.map(imageLabel) };
    const sources = await sourcesOf(this.#context, problem);
    const refusal = new LadingError("digest-mismatch", `${digest ?? "index.json"}: ${problem.message}`, {
      digest,
      operation: "repair",
      hint: hintFor(problem, sources),
    });
    const failed = { ...about, action: "failed", source: null, aside: null, error: refusal.toJSON() } as const;
    if (digest === null || kind === "invalid") return failed;
    const aside = kind === "missing" ? null : await this.#store.quarantine(digest);
    if (descriptor === null) return { ...failed, action: "aside", aside, error: null };
    let error: LadingError = refusal;
    for (const source of sources) {
      try {
        await this.#fetch(descriptor, source);
        return { ...about, action: "fetched", source, aside, error: null };
      } catch (thrown) {
        throwIfAborted(this.#signal);
        if (!isLadingError(thrown)) throw thrown;
        error = thrown.with({ operation: "repair", digest, side: "source" });
      }
    }
    return { ...failed, aside, error: error.toJSON() };
  }

  async #fetch(descriptor: Descriptor, source: string): Promise<void> {
    const { digest, size } = descriptor;
    const remote = this.#context.parser.remoteImage(source, { tagOption: "deny" });
    const repository = await this.#context.repository(remote, "source", this.#options);
    const read = (offset: number, inner?: AbortSignal) =>
      repository.get(descriptor, { offset, signal: inner ?? this.#signal, verify: false });
    // Never a link to the registry's file: it may be the very file that is damaged.
    await this.#store.put(descriptor, read, {
      signal: this.#signal,
      onBytes: (stored) => this.#progress.report(digest, "downloading", stored, size),
    });
    this.#progress.finish(digest, "done", size);
    this.#sound.add(digest);
  }
}
