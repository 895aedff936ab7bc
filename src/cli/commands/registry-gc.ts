import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { parseAge } from "../duration.js";
import { formatSize } from "../size.js";
import { type UpkeepPlace, withUpkeep } from "../upkeep-access.js";

interface Options extends UpkeepPlace {
  readonly dryRun?: boolean;
  readonly grace?: string;
}

export const gc: Implementation<[], Options> = async (context, _args, options) => {
  const grace = options.grace === undefined ? undefined : parseAge(options.grace);
  const collecting = { dryRun: options.dryRun === true, grace, signal: context.signal };
  const json = await withUpkeep(context, options, (upkeep) => upkeep.collect(collecting));
  const { tags, manifests, links, blobs, uploads, errors } = json;
  const freed = blobs.removedBytes + uploads.removedBytes;
  const verb = json.dryRun ? "would free" : "freed";
  const lines = [
    `${verb} ${formatSize(freed)}: ${blobs.removed} blobs, ${manifests.removed} manifests, ${links.removed} links, ${tags.removed} tags, ${uploads.removed} uploads`,
    `next time ${formatSize(blobs.condemnedBytes)}: ${blobs.condemned} blobs, ${manifests.condemned} manifests, ${links.condemned} links`,
  ];
  if (errors.length === 0) return { json, lines };
  for (const { repository, message } of errors) context.reporter.warning(`${repository ?? "the registry"}: ${message}`);
  const verdict = new LadingError("io", "not everything could be read, so not everything was collected", {
    operation: "registry gc",
    hint: "`lading registry check` says what is broken",
  });
  return { json, lines, verdict };
};
