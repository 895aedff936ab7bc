import { LadingError } from "../../errors.js";
import type { BackupReport } from "../../server/index.js";
import type { CommandResult, Implementation } from "../command.js";
import { dataFolder } from "../data-folder.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";
import { type UpkeepPlace, withUpkeep } from "../upkeep-access.js";

function shown(json: BackupReport, operation: string): CommandResult {
  const { path, repositories, tags, blobs, bytes, damaged } = json;
  const lines = [safeText(path), `${repositories} repositories, ${tags} tags, ${blobs} blobs, ${formatSize(bytes)}`];
  if (damaged.length === 0) return { json, lines };
  const verdict = new LadingError("digest-mismatch", `${damaged.length} blobs are damaged and were left out`, {
    operation,
    digest: damaged[0] ?? null,
    hint: "`lading registry check` says what needs them; push that again",
  });
  return { json, lines, verdict };
}

export const backup: Implementation<[target: string], UpkeepPlace> = async (context, [target], options) =>
  shown(
    await withUpkeep(context, options, (upkeep) => upkeep.backup(target, { signal: context.signal })),
    "registry backup",
  );

export const restore: Implementation<[source: string], UpkeepPlace> = async (context, [source], { data }) => {
  const directory = data ?? (await dataFolder(context));
  const { restoreRegistry } = await import("../../server/index.js");
  return shown(await restoreRegistry(source, directory), "registry restore");
};
