import { layersSize } from "../content/walk.js";
import { LadingError, type Side } from "../errors.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Digest } from "../oci/digest.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { RemoteDetails } from "./remote-details.js";
import { type PlatformOption, selectManifest, wantedPlatform } from "./selection.js";

/** Options of calls about one image, or one platform of it. */
export interface PlatformedOptions extends CallOptions {
  /** `os/architecture[/variant]`: one image of an index. Default: the reference itself. */
  readonly platform?: PlatformOption;
}

/** The result of `size` as JSON; sizes in bytes. */
export interface SizeJson {
  readonly image: string;
  readonly digest: string;
  readonly size: number;
  readonly platforms: readonly {
    readonly platform: string | null;
    readonly manifestDigest: string;
    readonly size: number;
  }[];
}

/** How large an image is, by platform too. */
export interface SizeResult {
  readonly image: RemoteImage;
  readonly digest: Digest;
  /** Compressed bytes of the layers; of an index, of its distinct layers. */
  readonly size: number;
  readonly platforms: readonly {
    readonly platform: string | null;
    readonly manifestDigest: Digest;
    readonly size: number;
  }[];
  toJSON(): SizeJson;
}

export async function size(
  context: ClientContext,
  image: RemoteImage,
  options: PlatformedOptions,
  signal: AbortSignal,
): Promise<SizeResult> {
  const details = new RemoteDetails(await context.repository(image, "source", options), signal);
  let top = await details.top(image.digest ?? image.tag ?? "latest");
  const platform = wantedPlatform(options.platform, context.config.platform, null);
  if (platform !== null) top = (await selectManifest(top, platform, details.read)).image;
  const images = await details.images(top);
  const platforms = images.map(({ platform: name, image: { descriptor, manifest } }) => ({
    platform: name,
    manifestDigest: descriptor.digest,
    size: layersSize([manifest]),
  }));
  const fields = { digest: top.descriptor.digest, size: await details.size(top), platforms };
  const json: SizeJson = { image: image.toString(), ...fields };
  return { image, ...fields, toJSON: () => json };
}

/** The result of `digest` as JSON. */
export interface DigestJson {
  readonly image: string;
  readonly reference: string;
  readonly digest: string;
  readonly mediaType: string;
  readonly platform: string | null;
}

/** The digest of an image, and what it is the digest of. */
export interface DigestResult {
  readonly image: RemoteImage;
  /** `host/path@sha256:…`. */
  readonly reference: string;
  readonly digest: Digest;
  readonly mediaType: string;
  /** The platform that was asked for, or null. */
  readonly platform: string | null;
  toJSON(): DigestJson;
}

/** One HEAD request where the registry says the digest; else the manifest is fetched and hashed. */
export async function digest(
  context: ClientContext,
  image: RemoteImage,
  options: PlatformedOptions,
  signal: AbortSignal,
): Promise<DigestResult> {
  const repository = await context.repository(image, "source", options);
  const platform = wantedPlatform(options.platform, context.config.platform, null);
  const reference = image.digest ?? image.tag ?? "latest";
  let found = await repository.head(reference, { signal });
  if (found === null) throw notInRegistry(image);
  if (platform !== null) {
    const details = new RemoteDetails(repository, signal);
    const chosen = await selectManifest(await details.top(reference), platform, details.read);
    found = chosen.image.descriptor;
  }
  const json: DigestJson = {
    image: image.toString(),
    reference: `${wirePath(image)}@${found.digest}`,
    digest: found.digest,
    mediaType: found.mediaType,
    platform:
      platform === null
        ? null
        : `${platform.os}/${platform.architecture}${platform.variant ? `/${platform.variant}` : ""}`,
  };
  return { ...json, image, digest: found.digest, toJSON: () => json };
}

/** @internal */
export function notInRegistry(image: RemoteImage, side: Side = "source"): LadingError {
  const what = image.digest ?? `tag ${image.tag ?? "latest"}`;
  return new LadingError("not-found", `${wirePath(image)} has no ${what}`, {
    side,
    image: image.toString(),
    status: 404,
    hint: "`lading tags` lists what the repository has, `lading ls` the repositories",
  });
}
