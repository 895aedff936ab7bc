import { LadingError } from "../../errors.js";
import type { RetentionPolicy } from "../../server/index.js";
import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";
import { type UpkeepPlace, withUpkeep } from "../upkeep-access.js";

interface SetOptions extends UpkeepPlace {
  readonly keepLast?: string;
  readonly keep?: readonly string[];
  readonly untaggedDays?: string;
  readonly immutable?: readonly string[];
}

/** The scope that stands for all repositories on the command line. */
const everywhere = "*";
const scopeOf = (text: string): string => (text === everywhere ? "" : text);

function line({ scope, keepLast, keep, untaggedDays, immutable }: RetentionPolicy): string {
  const parts = [
    scope === "" ? everywhere : scope,
    ...(keepLast === null ? [] : [`keep-last=${keepLast}`]),
    ...(keep.length === 0 ? [] : [`keep=${keep.join(",")}`]),
    ...(untaggedDays === null ? [] : [`untagged-days=${untaggedDays}`]),
    ...(immutable.length === 0 ? [] : [`immutable=${immutable.join(",")}`]),
  ];
  return safeText(parts.join("  "));
}

function countOf(flag: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new LadingError("usage", `${flag} takes a number, not ${JSON.stringify(text)}`);
}

export const set: Implementation<[scope: string], SetOptions> = async (context, [scope], options) => {
  const json = await withUpkeep(context, options, (upkeep) =>
    upkeep.setPolicy({
      scope: scopeOf(scope),
      keepLast: countOf("--keep-last", options.keepLast),
      keep: options.keep ?? [],
      untaggedDays: countOf("--untagged-days", options.untaggedDays),
      immutable: options.immutable ?? [],
    }),
  );
  return { json, lines: [line(json)] };
};

export const list: Implementation<[], UpkeepPlace> = async (context, _args, options) => {
  const policies = await withUpkeep(context, options, (upkeep) => upkeep.policies());
  return { json: { policies }, lines: policies.map(line) };
};

export const remove: Implementation<[scope: string], UpkeepPlace> = async (context, [scope], options) => {
  const removed = await withUpkeep(context, options, (upkeep) => upkeep.removePolicy(scopeOf(scope)));
  if (!removed) throw new LadingError("not-found", `there is no policy for ${scope}`);
  return { json: { scope: scopeOf(scope) }, lines: [safeText(scope)] };
};
