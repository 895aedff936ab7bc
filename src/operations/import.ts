import { abortable } from "../content/abortable.js";
import type { EngineKind } from "../engines/engine.js";
import { LadingError } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { Digest } from "../oci/digest.js";
import { parsePlatform } from "../oci/platform.js";
import type { ClientContext } from "./context.js";
import { checkSource, fileBytes, isDirectory, sidedAsRead } from "./file-source.js";
import { intoEngine } from "./into-engine.js";
import type { LoadOptions } from "./load.js";
import { type TransferProgress, withProgress } from "./transfer-progress.js";

/** A folder or a tar by its path, or a tar's bytes. */
export type ImportSource = string | AsyncIterable<Uint8Array>;

/** `platform` is the image's own here. Default: the engine's. */
export interface ImportOptions extends LoadOptions {
  /** Keep owners instead of uid and gid 0. @default false */
  readonly keepOwner?: boolean | null | undefined;
}

/** The result of `import` as JSON. */
export interface ImportJson {
  readonly engine: EngineKind;
  readonly local: string;
  readonly id: string;
  readonly digest: string;
}

/** The image that `import` made. */
export interface ImportResult {
  readonly engine: EngineKind;
  readonly local: LocalImage;
  readonly id: Digest;
  readonly digest: Digest;
  toJSON(): ImportJson;
}

/** A one-layer image of files, the same digest each time. */
export async function importImage(
  context: ClientContext,
  given: ImportSource,
  name: LocalImage,
  options: ImportOptions,
  callerSignal: AbortSignal,
): Promise<ImportResult> {
  checkSource(given);
  const importing = async (progress: TransferProgress, signal: AbortSignal): Promise<ImportResult> => {
    const source = typeof given === "string" ? given : abortable(given, signal);
    const { engine, kind } = await context.engine(signal);
    const info = await engine.info(signal);
    const store = await context.store();
    const { importRootFilesystem } = await import("../content/root-filesystem.js");
    const platform = options.platform ?? context.config.platform;
    const files = await rootFilesystem(source, await store.scratch());
    const root = await importRootFilesystem(files, {
      into: store,
      platform: platform === null ? info.platform : parsePlatform(platform),
      keepOwner: options.keepOwner ?? false,
      epoch: sourceDateEpoch(context.env),
      signal,
      progress,
      onWarning: (text) => context.warn(text),
    }).catch((error: unknown) => {
      throw sidedAsRead(error, source);
    });
    const local = name.tag === null ? new LocalImage(name.name, "latest") : name;
    const images = await intoEngine(context, [{ root, names: [local] }], options.force ?? false, progress, signal);
    const id = images[0]?.id ?? root.digest;
    const json: ImportJson = { engine: kind, local: local.toString(), id, digest: root.digest };
    return { engine: kind, local, id, digest: root.digest, toJSON: () => json };
  };
  return await context.holding(() => withProgress(options.progress, callerSignal, importing));
}

async function rootFilesystem(source: ImportSource, spoolDirectory: string) {
  if (typeof source !== "string") return { tar: source, spoolDirectory };
  return (await isDirectory(source, "a folder, or a tar of a root file system"))
    ? { directory: source }
    : { tar: fileBytes(source), spoolDirectory };
}

/** @throws LadingError `config-invalid` */
function sourceDateEpoch(env: Readonly<Record<string, string | undefined>>): number {
  const text = env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === "") return 0;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new LadingError("config-invalid", "SOURCE_DATE_EPOCH is not a number of seconds", {
    hint: "see reproducible-builds.org: seconds since 1970",
  });
}
