import { LadingError } from "../../errors.js";
import type { Quota } from "../../server/index.js";
import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";
import { formatSize, parseSize } from "../size.js";
import { type UpkeepPlace, withUpkeep } from "../upkeep-access.js";

const line = ({ owner, bytes, used }: Quota): string =>
  safeText(`${owner}  ${formatSize(used)} of ${bytes === null ? "any" : formatSize(bytes)}`);

export const set: Implementation<[owner: string, size: string], UpkeepPlace> = async (
  context,
  [owner, size],
  options,
) => {
  const json = await withUpkeep(context, options, (upkeep) => upkeep.setQuota(owner, parseSize(size)));
  return { json, lines: [line(json)] };
};

export const list: Implementation<[], UpkeepPlace> = async (context, _args, options) => {
  const quotas = await withUpkeep(context, options, (upkeep) => upkeep.quotas());
  return { json: { quotas }, lines: quotas.map(line) };
};

export const remove: Implementation<[owner: string], UpkeepPlace> = async (context, [owner], options) => {
  const removed = await withUpkeep(context, options, (upkeep) => upkeep.removeQuota(owner));
  if (!removed) throw new LadingError("not-found", `${owner} has no quota`);
  return { json: { owner }, lines: [safeText(owner)] };
};
