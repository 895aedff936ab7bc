import type { PutResult } from "../content/store.js";
import { type ContentTree, manifestReader, walkTree } from "../content/walk.js";
import type { EngineExchange, EngineImage, ExchangeOptions, ExchangeReport, LocalEngine } from "../engines/engine.js";
import { isLadingError, LadingError, throwIfAborted } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex } from "../oci/digest.js";
import type { RawManifest } from "../oci/manifest.js";
import type { Platform } from "../oci/platform.js";
import type { Repository } from "../registry/repository.js";
import type { CallOptions, ClientContext } from "./context.js";
import type { TransferProgress } from "./transfer-progress.js";

/** A transfer that the engine may be able to do by itself. */
export interface ExchangeRequest {
  readonly context: ClientContext;
  readonly engine: LocalEngine;
  readonly repository: Repository;
  readonly remote: RemoteImage;
  readonly options: CallOptions;
  readonly platform: Platform | null;
  readonly progress: TransferProgress;
  readonly signal: AbortSignal;
}

export interface Exchanged {
  readonly tree: ContentTree;
  readonly results: ReadonlyMap<Digest, PutResult>;
  /** The tag pointed at the image before. */
  readonly there: boolean;
}

/**
 * Lets the engine push, where that is faster than its export, and looks at what has arrived: every manifest is read and
 * hashed, and every blob is asked for.
 * @returns Null where the engine can't, or what is there afterwards is not what it said: then it is sent in the usual way.
 */
export async function pushByEngine(
  request: ExchangeRequest,
  image: EngineImage,
  tag: string,
): Promise<Exchanged | null> {
  const { repository, signal, progress, platform } = request;
  const read = manifestReader(repository, signal);
  // Such an engine knows the digest: of an image that is there already, only its manifests are read.
  const head = platform === null ? await repository.resolve(tag, { signal }) : null;
  if (head !== null && head.digest === image.digest) {
    const tree = await walkTree(head, read);
    for (const { digest, size } of tree.layers) progress.finish(digest, "exists", size);
    return { tree, results: new Map(), there: true };
  }
  const run: Run = (exchange, options) => exchange.push(image, tag, options);
  return await attempt(request, ["pull", "push"], run, async (report) => {
    const root = await tagged(repository, tag, signal);
    if (root?.descriptor.digest !== report.digest) return null;
    const tree = await walkTree(root.descriptor, async (wanted) =>
      wanted.digest === root.descriptor.digest ? root : await read(wanted),
    );
    const found = await Promise.all(tree.blobs.map((blob) => repository.has(blob, { signal })));
    if (!found.every(Boolean)) return null;
    const results = resultsOf(tree.blobs, report);
    for (const { digest, size } of tree.layers) {
      progress.identify(shortOf(digest), digest);
      const outcome = results.get(digest)?.outcome ?? "exists";
      progress.finish(digest, outcome === "stored" ? "done" : outcome, size);
    }
    return { tree, results, there: false };
  });
}

/** What a tag points at, read and hashed; null where there is no such tag. */
async function tagged(repository: Repository, tag: string, signal: AbortSignal): Promise<RawManifest | null> {
  try {
    return await repository.manifest(tag, { signal });
  } catch (error) {
    if (isLadingError(error) && error.code === "not-found") return null;
    throw error;
  }
}

/**
 * Lets the engine pull what was chosen, by its digest.
 * @returns Null where it can't: then it is fetched and loaded in the usual way.
 */
export async function pullByEngine(
  request: ExchangeRequest,
  { root, layers }: Pick<ContentTree, "root" | "layers">,
  local: LocalImage,
): Promise<ReadonlyMap<Digest, PutResult> | null> {
  const { engine, progress, signal } = request;
  for (const { digest } of layers) progress.identify(digest, shortOf(digest));
  const run: Run = (exchange, options) => exchange.pull(root.digest, local, options);
  return await attempt(request, ["pull"], run, async (report) => {
    const found = await engine.inspect(local, signal);
    if (found?.id === root.digest) return resultsOf(layers, report);
    throw new LadingError("engine-failed", `after a pull of ${root.digest}, ${local} is another image in the engine`, {
      side: "destination",
      digest: root.digest,
    });
  });
}

type Run = (exchange: EngineExchange, options: ExchangeOptions) => Promise<ExchangeReport | null>;

/** @param check Looks at what has come of it, while the engine takes back what was there for the transfer alone. */
async function attempt<Result>(
  { context, engine, remote, options, platform, progress, signal }: ExchangeRequest,
  actions: readonly ["pull"] | readonly ["pull", "push"],
  run: Run,
  check: (report: ExchangeReport) => Promise<Result | null>,
): Promise<Result | null> {
  const exchange = (await engine.exchange?.(signal)) ?? null;
  if (exchange === null) return null;
  const side = actions.length === 1 ? "source" : "destination";
  const route = await context.engineRoute(remote, options, { actions, side, signal });
  if (route === null) return null;
  const { target } = route;
  const failed = (error: unknown): null => {
    throwIfAborted(signal);
    // Whatever it was: the usual way is another one, and tells better what is wrong.
    context.debug(
      `${engine.kind} could not do it by itself: ${error instanceof Error ? error.message : String(error)}`,
    );
    return null;
  };
  let report: ExchangeReport | null = null;
  try {
    const exchanging = context.exports.run(() => run(exchange, { target, platform, progress, signal }), signal);
    report = await exchanging.catch(failed);
    return report === null ? null : await check(report);
  } finally {
    await report?.settled;
    await route.close();
  }
}

/** Docker shortens a digest to this in its progress. */
function shortOf(digest: Digest): string {
  return digestHex(digest).slice(0, 12);
}

/** What became of blobs by the engine's word. It tells of layers alone: a config goes the way that they went. */
function resultsOf(blobs: readonly Descriptor[], { outcomes }: ExchangeReport): ReadonlyMap<Digest, PutResult> {
  const all = new Set(outcomes.values());
  const rest = (["stored", "mounted"] as const).find((outcome) => all.has(outcome)) ?? "exists";
  return new Map(
    blobs.map(({ digest, size }) => {
      const outcome = outcomes.get(shortOf(digest)) ?? rest;
      return [digest, { outcome, transferred: outcome === "stored" ? size : 0 }];
    }),
  );
}
