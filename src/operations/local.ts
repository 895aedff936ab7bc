import type { EngineImage, EngineKind } from "../engines/engine.js";
import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Digest } from "../oci/digest.js";
import { formatPlatform } from "../oci/platform.js";
import type { ClientContext } from "./context.js";
import { globMatcher } from "./glob.js";
import { notLocal } from "./push.js";
import { utc } from "./tags.js";

/** Options of `local.list`. */
export interface LocalListOptions {
  /** Shell pattern on `name:tag` or the name alone. */
  readonly glob?: string | null | undefined;
}

/** The result of `local.list` as JSON; sizes in bytes. */
export interface LocalListJson {
  readonly engine: EngineKind;
  readonly images: readonly {
    readonly local: string | null;
    readonly name: string | null;
    readonly tag: string | null;
    readonly id: string;
    readonly digest: string | null;
    readonly size: number;
    readonly created: string | null;
    readonly platforms: readonly string[];
  }[];
}

/** The images of the engine. */
export interface LocalListResult {
  readonly engine: EngineKind;
  readonly images: readonly EngineImage[];
  toJSON(): LocalListJson;
}

export async function listLocal(
  context: ClientContext,
  { glob }: LocalListOptions,
  signal: AbortSignal,
): Promise<LocalListResult> {
  const { engine, kind } = await context.engine(signal);
  const all = await engine.list(signal);
  const matches = glob ? globMatcher(glob) : null;
  const images = all.filter(
    ({ local }) => matches === null || (local !== null && (matches(local.toString()) || matches(local.name))),
  );
  const json: LocalListJson = {
    engine: kind,
    images: images.map(({ local, id, digest, size, created, platforms }) => ({
      local: local?.toString() ?? null,
      name: local?.name ?? null,
      tag: local?.tag ?? null,
      id,
      digest,
      size,
      created: utc(created),
      platforms: platforms.map(formatPlatform),
    })),
  };
  return { engine: kind, images, toJSON: () => json };
}

export async function tagLocal(
  context: ClientContext,
  local: LocalImage | Digest,
  name: LocalImage,
  signal: AbortSignal,
): Promise<LocalImage> {
  const { engine, kind } = await context.engine(signal);
  if ((await engine.inspect(local, signal)) === null) throw notLocal(kind, local);
  await engine.tag(local, name, signal);
  return name;
}

export async function removeLocal(
  context: ClientContext,
  local: LocalImage | Digest,
  { force }: { readonly force: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { engine, kind } = await context.engine(signal);
  if ((await engine.inspect(local, signal)) === null) throw notLocal(kind, local);
  await engine.remove(local, { force, signal });
  if (kind === "store") {
    // Other engines free the space themselves. What was used within the hour may be part of a running transfer.
    const { collect } = await import("../content/collect.js");
    await collect(await context.store(), { graceMs: 3600 * 1000, signal });
  }
}

/** Names that point at another image already move only when the user says so. @throws LadingError `conflict` */
export async function refuseToMoveNames(
  context: ClientContext,
  names: readonly LocalImage[],
  id: (existing: EngineImage) => boolean,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (force) return;
  const { engine } = await context.engine(signal);
  for (const name of names) {
    const existing = await engine.inspect(name, signal);
    if (existing === null || id(existing)) continue;
    throw new LadingError("conflict", `${name} is another image already (${existing.id})`, {
      side: "destination",
      image: name.toString(),
      hint: "--force moves the name",
    });
  }
}
