import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { unlessAborted } from "../content/abortable.js";
import { convertManifests } from "../content/convert.js";
import { copyBlobs, copyManifests, rootOf } from "../content/copy.js";
import { LayoutStore } from "../content/layout.js";
import type { ContentStore } from "../content/store.js";
import { manifestReader, walkTree } from "../content/walk.js";
import type { EngineKind } from "../engines/engine.js";
import { ioError, LadingError, throwIfAborted } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { isManifestType } from "../oci/media-types.js";
import { checkedChoice, misused } from "./call-options.js";
import type { ClientContext } from "./context.js";
import { notLocal } from "./push.js";
import { selectManifest, wantedPlatform } from "./selection.js";
import { withProgress } from "./transfer-progress.js";

const saveFormats = ["docker-archive", "oci-archive", "oci-dir"] as const;

/** How images are written: an archive of Docker's or OCI's, or an OCI folder. */
export type SaveFormat = (typeof saveFormats)[number];

/** A file or folder by its path, or a function that takes the archive's bytes and resolves once it wants more. */
export type SaveTarget = string | ((chunk: Uint8Array) => Promise<void>);

/** Options of `save`. */
export interface SaveOptions {
  /** Default: `docker-archive`, which every tool reads. */
  readonly as?: SaveFormat | null | undefined;
  /** `os/architecture[/variant]` of an index; a docker-archive holds one. */
  readonly platform?: string | null | undefined;
  readonly progress?: ImageProgress | null | undefined;
}

/** The result of `save` as JSON. */
export interface SaveJson {
  readonly engine: EngineKind;
  readonly images: readonly string[];
  /** The path; null where the bytes went to a function. */
  readonly output: string | null;
  readonly as: SaveFormat;
}

/** What `save` wrote, and where. */
export interface SaveResult extends SaveJson {
  toJSON(): SaveJson;
}

interface Saved {
  readonly root: Descriptor;
  readonly names: readonly LocalImage[];
}

/** Writes images as an archive or a layout. A file appears under its name once it is whole. */
export async function save(
  context: ClientContext,
  locals: readonly (LocalImage | Digest)[],
  target: SaveTarget,
  options: SaveOptions,
  callerSignal: AbortSignal,
): Promise<SaveResult> {
  const as = checkedChoice("as", options.as, saveFormats) ?? "docker-archive";
  if (typeof target !== "string" && (typeof target !== "function" || as === "oci-dir")) {
    throw misused("the target", as === "oci-dir" ? "the path of a folder" : "a path, or a function that takes bytes");
  }
  return await withProgress(options.progress, callerSignal, async (progress, signal) => {
    const { kind, engine } = await context.engine(signal);
    const store = await context.store();
    const info = await engine.info(signal);
    const images: Saved[] = [];
    const read = manifestReader(store, signal);
    for (const local of locals) {
      if ((await engine.inspect(local, signal)) === null) throw notLocal(kind, local);
      const platform = wantedPlatform(
        options.platform,
        context.config.platform,
        as === "docker-archive" ? info.platform : null,
      );
      const manifests: Descriptor[] = [];
      const exported = engine.exportImage(local, { into: store, platform, format: "docker", signal, progress });
      for await (const descriptor of exported) if (isManifestType(descriptor.mediaType)) manifests.push(descriptor);
      const top = await read(rootOf(manifests));
      // A docker-archive has no word for an index; an OCI layout should have OCI's words: skopeo looks for no others.
      const root =
        as === "docker-archive"
          ? (await selectManifest(top, platform ?? info.platform, read)).image.descriptor
          : await asOci(store, top.descriptor, signal);
      images.push({ root, names: local instanceof LocalImage ? [withTag(local)] : [] });
    }
    if (as === "oci-dir") await writeLayout(context, images, String(target), signal);
    else await writeArchive(context, images, target, as, signal);
    progress.finishRest();
    const json: SaveJson = {
      engine: kind,
      images: locals.map(String),
      output: typeof target === "string" ? target : null,
      as,
    };
    return { ...json, toJSON: () => json };
  });
}

function withTag(local: LocalImage): LocalImage {
  return local.tag === null ? new LocalImage(local.name, "latest") : local;
}

/** The image in OCI's media types; one that has them already keeps its bytes and digest. */
async function asOci(store: ContentStore, root: Descriptor, signal: AbortSignal): Promise<Descriptor> {
  const tree = await walkTree(root, manifestReader(store, signal));
  const manifests = convertManifests(tree.manifests, "oci");
  await copyManifests(manifests, store, signal);
  return manifests.at(-1)?.descriptor ?? root;
}

async function writeLayout(
  context: ClientContext,
  images: readonly Saved[],
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const store = await context.store();
  const layout = new LayoutStore(directory);
  for (const { root, names } of images) {
    const tree = await walkTree(root, manifestReader(store, signal));
    await copyBlobs(tree.blobs, {
      source: store,
      destination: layout,
      limiter: context.blobs,
      shared: context.shared,
      sharedKey: `save ${context.identity(layout)}`,
      signal,
    });
    await copyManifests(tree.manifests, layout, signal);
    for (const name of names) await layout.tag(root, name.toString(), { signal });
  }
  await layout.tidy();
}

async function writeArchive(
  context: ClientContext,
  images: readonly Saved[],
  target: SaveTarget,
  as: "docker-archive" | "oci-archive",
  signal: AbortSignal,
): Promise<void> {
  const store = await context.store();
  const { writeDockerArchive, writeOciArchive } = await import("../content/archive.js");
  const bytes =
    as === "docker-archive"
      ? writeDockerArchive(
          images.map(({ root, names }) => ({ manifest: root, names })),
          store,
          { compressed: false, signal },
        )
      : writeOciArchive(images, store, { missing: "refuse", signal });
  if (typeof target === "string") await writeFile(target, bytes, signal);
  else for await (const chunk of bytes) await unlessAborted(target(chunk), signal);
}

function notWritten(error: unknown, path: string): LadingError {
  const side = "destination";
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === "ENOENT" || code === "ENOTDIR") {
    const hint = "make it first, or check the path";
    return new LadingError("io", `there is no folder ${dirname(path)} to write ${path} in`, {
      side,
      hint,
      cause: error,
    });
  }
  const failed = ioError(error, `writing ${path}`, { side });
  if (failed.code !== "no-space") return failed;
  const hint = "free disk space, or write it elsewhere with -o";
  return new LadingError("no-space", failed.message, { side, hint, cause: error });
}

/** Beside its place first, so that a save that fails leaves what was there. */
async function writeFile(path: string, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  const temporary = join(dirname(path), `.lading-${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", 0o644);
    try {
      for await (const chunk of bytes) {
        throwIfAborted(signal);
        await file.writeFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw notWritten(error, path);
  }
}
