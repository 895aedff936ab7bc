import { readVerified } from "../content/verify.js";
import { manifestReader, walkTree } from "../content/walk.js";
import type { LocalImage } from "../image/local-image.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { ImageConfig, RawManifest } from "../oci/manifest.js";
import { parseImageConfig } from "../oci/manifest.js";
import { formatPlatform } from "../oci/platform.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { notLocal } from "./push.js";
import { isImageConfig, RemoteDetails } from "./remote-details.js";
import { type PlatformOption, selectManifest, wantedPlatform } from "./selection.js";
import { utc } from "./tags.js";

/** Options of `inspect`. */
export interface InspectOptions extends CallOptions {
  readonly platform?: PlatformOption;
}

/** A layer of an inspected image; null is what is not known there. `size` in bytes. */
export interface InspectedLayer {
  readonly digest: string | null;
  readonly diffId: string | null;
  readonly mediaType: string | null;
  readonly size: number | null;
}

/** An inspected image of one platform. */
export interface InspectedPlatform {
  readonly platform: string | null;
  readonly manifestDigest: string | null;
  readonly created: string | null;
  /** The image config as it is; null for an artifact or where the engine does not give it. */
  readonly config: unknown;
  readonly layers: readonly InspectedLayer[];
}

/** The result of `inspect` as JSON. */
export interface InspectJson {
  readonly image: string;
  readonly reference: string | null;
  readonly digest: string | null;
  readonly mediaType: string | null;
  /** The manifest as it is. */
  readonly manifest: unknown;
  readonly platforms: readonly InspectedPlatform[];
}

/** What an image is: manifest, configs and layers. */
export interface InspectResult extends Omit<InspectJson, "image"> {
  readonly image: RemoteImage | LocalImage | Digest;
  /** The manifest's bytes as the registry has them; empty where an engine has none. */
  readonly raw: Uint8Array;
  toJSON(): InspectJson;
}

export async function inspect(
  context: ClientContext,
  image: RemoteImage,
  options: InspectOptions,
  signal: AbortSignal,
): Promise<InspectResult> {
  const details = new RemoteDetails(await context.repository(image, "source", options), signal);
  let top = await details.top(image.digest ?? image.tag ?? "latest");
  const platform = wantedPlatform(options.platform, context.config.platform, null);
  if (platform !== null) top = (await selectManifest(top, platform, details.read)).image;
  const images = await details.images(top);
  const platforms = await Promise.all(
    images.map(async ({ platform: name, image: raw }) => inspected(name, raw, await details.config(raw))),
  );
  return result(image, `${wirePath(image)}@${top.descriptor.digest}`, top, platforms);
}

function inspected(platform: string | null, raw: RawManifest, config: ImageConfig | null): InspectedPlatform {
  const layers: readonly Descriptor[] = raw.manifest.kind === "image" ? raw.manifest.layers : [];
  return {
    platform,
    manifestDigest: raw.descriptor.digest,
    created: utc(config?.created ?? null),
    config: config?.raw ?? null,
    layers: layers.map(({ digest, mediaType, size }, index) => ({
      digest,
      diffId: config?.diffIds[index] ?? null,
      mediaType,
      size,
    })),
  };
}

function result(
  image: RemoteImage | LocalImage | Digest,
  reference: string | null,
  top: RawManifest | null,
  platforms: readonly InspectedPlatform[],
): InspectResult {
  const raw = top?.bytes ?? new Uint8Array();
  const fields = {
    reference,
    digest: top?.descriptor.digest ?? null,
    mediaType: top?.descriptor.mediaType ?? null,
    manifest: top === null ? null : (JSON.parse(new TextDecoder().decode(top.bytes)) as unknown),
    platforms,
  };
  const json: InspectJson = { image: image.toString(), ...fields };
  return { image, ...fields, raw, toJSON: () => json };
}

/** A local image, as much as its engine knows without an export: the store has everything, the others their layers' diff IDs. */
export async function inspectLocal(
  context: ClientContext,
  local: LocalImage | Digest,
  signal: AbortSignal,
): Promise<InspectResult> {
  const { engine, kind } = await context.engine(signal);
  const image = await engine.inspect(local, signal);
  if (image === null) throw notLocal(kind, local);
  const store = await context.store();
  const remembered =
    kind === "store"
      ? await store.resolve(image.local?.toString() ?? String(local))
      : await store.manifestFor(image.id, "original", "");
  if (remembered !== null && (await store.has(remembered))) {
    const tree = await walkTree(remembered, manifestReader(store, signal));
    const platforms: InspectedPlatform[] = [];
    for (const raw of tree.manifests) {
      if (raw.manifest.kind !== "image") continue;
      const { config: descriptor } = raw.manifest;
      const known = isImageConfig(descriptor) && (await store.has(descriptor));
      const config = known
        ? parseImageConfig(await readVerified(store, descriptor, { limit: "config", signal }))
        : null;
      platforms.push(inspected(config === null ? null : formatPlatform(config.platform), raw, config));
    }
    return result(local, null, tree.manifests.at(-1) ?? null, platforms);
  }
  return result(local, null, null, [
    {
      platform: image.platforms[0] === undefined ? null : formatPlatform(image.platforms[0]),
      manifestDigest: image.digest,
      created: utc(image.created),
      config: null,
      layers: image.diffIds.map((diffId) => ({ digest: null, diffId, mediaType: null, size: null })),
    },
  ]);
}
