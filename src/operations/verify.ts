import type { AuditedImage, ProblemKind, StoreProblem } from "../content/audit.js";
import { referenceText } from "../engines/engine-reference.js";
import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { Digest } from "../oci/digest.js";
import type { ClientContext } from "./context.js";
import { withProgress } from "./transfer-progress.js";

/** Options of `verify`. */
export interface VerifyOptions {
  /** One step with `layerId` "store": bytes that were read, and bytes that will be. */
  readonly progress?: ImageProgress | null | undefined;
}

/** The result of `verify` as JSON; `ok` where there are no problems. */
export interface VerifyJson {
  /** The store's folder. */
  readonly store: string;
  readonly ok: boolean;
  /** Blobs that were read, and their bytes. */
  readonly checked: { readonly blobs: number; readonly bytes: number };
  readonly images: readonly { readonly local: string | null; readonly digest: string; readonly ok: boolean }[];
  readonly problems: readonly ProblemJson[];
}

/** Something in the store that is not what it should be. */
export interface ProblemJson {
  readonly kind: ProblemKind;
  /** Null for `index.json`. */
  readonly digest: string | null;
  /** Bytes that it should have; null where no image says. */
  readonly size: number | null;
  /** Names of the images that are not whole because of it; the digest of one without a name. */
  readonly images: readonly string[];
  /** Repositories that have had these images, the latest first: `host[:port]/path`. */
  readonly sources: readonly string[];
  readonly message: string;
  readonly hint: string;
}

/** What `verify` read, and what is wrong. */
export interface VerifyResult extends VerifyJson {
  toJSON(): VerifyJson;
}

/** Reads all that is in the store, or what some images need, and says what is wrong. */
export async function verify(
  context: ClientContext,
  locals: readonly (LocalImage | Digest)[] | null,
  options: VerifyOptions,
  callerSignal: AbortSignal,
): Promise<VerifyResult> {
  const store = await context.store();
  const { audit } = await import("../content/audit.js");
  const found = await withProgress(options.progress, callerSignal, async (progress, signal) => {
    const only = locals === null ? null : await chosenImages(context, locals);
    const onBytes = (current: number, total: number) => progress.report("store", "verifying", current, total);
    const result = await audit(store, { only, onBytes, signal });
    progress.finishRest();
    return result;
  });
  const problems: ProblemJson[] = [];
  for (const problem of found.problems) problems.push(await problemJson(context, problem));
  const broken = new Set(found.problems.flatMap(({ images }) => images));
  const json: VerifyJson = {
    store: store.directory,
    ok: problems.length === 0,
    checked: found.checked,
    images: found.images.map((image) => ({
      local: image.name,
      digest: image.descriptor.digest,
      ok: !broken.has(image),
    })),
    problems,
  };
  return { ...json, toJSON: () => json };
}

/** Tells the images that the caller named. @throws LadingError `not-found` for one that the store does not have */
export async function chosenImages(
  context: ClientContext,
  locals: readonly (LocalImage | Digest)[],
): Promise<(image: AuditedImage) => boolean> {
  const store = await context.store();
  const texts = new Set(locals.map(referenceText));
  const entries = await store.entries();
  const roots = await store.roots();
  for (const text of texts) {
    if (entries.some(({ name }) => name === text) || roots.some(({ digest }) => digest === text)) continue;
    throw new LadingError("not-found", `the store has no image ${text}`, {
      image: text,
      hint: "see the names it has with: lading images --engine store",
    });
  }
  return ({ name, descriptor }) => (name !== null && texts.has(name)) || texts.has(descriptor.digest);
}

/** What people call an image that has a problem. */
export function imageLabel({ name, descriptor }: AuditedImage): string {
  return name ?? descriptor.digest;
}

/** Repositories that may still have what is wrong here. */
export async function sourcesOf(context: ClientContext, { images }: StoreProblem): Promise<readonly string[]> {
  const { origins } = await context.store();
  const sources = new Set<string>();
  for (const { descriptor } of images) for (const source of await origins.of(descriptor.digest)) sources.add(source);
  return [...sources];
}

async function problemJson(context: ClientContext, problem: StoreProblem): Promise<ProblemJson> {
  const { kind, digest, descriptor, images, message } = problem;
  const sources = await sourcesOf(context, problem);
  return {
    kind,
    digest,
    size: descriptor?.size ?? null,
    images: images.map(imageLabel),
    sources,
    message,
    hint: hintFor(problem, sources),
  };
}

/** What a user can do about it. */
export function hintFor({ kind, images }: StoreProblem, sources: readonly string[]): string {
  if (kind === "index") {
    return "put back index.json from a copy; or move it away and pull, load or import the images again: their blobs are still here";
  }
  if (kind === "invalid") return "it was made so: remove the image with `lading rmi`, and build or pull it again";
  if (images.length === 0) return "no image needs it: `lading repair` moves it aside";
  if (sources.length > 0) return `\`lading repair\` fetches it again from ${sources[0]}`;
  return "nobody knows where it came from: pull, load or import the image again";
}
