import { LadingError } from "../errors.js";
import { choosePlatform, formatPlatform, type Platform } from "../oci/platform.js";
import type { InspectedImage } from "./engine-image.js";

/**
 * Which platform of an image with original content goes out; null for the whole, as it is. An index of which only
 * some platforms are there can't be pushed whole (no registry takes it), so it is narrowed to the engine's own
 * platform, or to the only one there is.
 * @throws LadingError `not-found`
 */
export function presentPlatform(image: InspectedImage, wanted: Platform | null, engine: Platform): Platform | null {
  const { manifests } = image;
  const present = manifests
    .filter(({ kind, available }) => kind === "image" && available)
    .flatMap(({ digest, platform }) => (platform === null ? [] : [{ digest, platform }]));
  if (wanted === null && manifests.every(({ available }) => available)) return null;
  if (manifests.length === 0) return wanted;
  const choice =
    choosePlatform(present, wanted ?? engine) ?? (wanted === null && present.length === 1 ? present[0] : null);
  if (choice === null || choice === undefined) throw noPlatform(image, wanted);
  // An image that is no index is sent as it is.
  return choice.digest === image.target ? null : choice.platform;
}

/** An image with one platform is taken for what is wanted, or not at all. */
export function wantedPlatform(image: InspectedImage, wanted: Platform | null): null {
  const offered = image.platforms.map((platform) => ({ platform }));
  if (wanted !== null && offered.length > 0 && choosePlatform(offered, wanted) === null)
    throw noPlatform(image, wanted);
  return null;
}

function noPlatform(image: InspectedImage, wanted: Platform | null): LadingError {
  const offered = image.platforms.map(formatPlatform).join(", ") || "no complete platform";
  const message =
    wanted === null
      ? `the engine holds only a part of ${image.id}: ${offered}`
      : `the engine has no ${formatPlatform(wanted)} of ${image.id}, only ${offered}`;
  return new LadingError("not-found", message, { hint: "choose a platform with --platform, or pull the image whole" });
}
