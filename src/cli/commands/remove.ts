import { LadingError } from "../../errors.js";
import type { RemoteImage } from "../../image/remote-image.js";
import type { RemovalJson } from "../../operations/remove.js";
import type { Implementation } from "../command.js";
import type { CommandContext } from "../command-context.js";
import { canAsk, confirm } from "../confirm.js";
import { each } from "../each.js";
import { remoteArgument } from "../remote-argument.js";
import { safeText } from "../safe-text.js";

interface Options {
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly allTags?: boolean;
  readonly ignoreMissing?: boolean;
}

export const remove: Implementation<[references: readonly string[]], Options> = async (context, [texts], options) => {
  const client = await context.client();
  const allTags = options.allTags === true;
  const named = await each(texts, async (text) => oneImage(remoteArgument(client, text, { tagOption: allTags ? "deny" : "allow" }), text, allTags));
  const choice = {
    allTags,
    force: options.force === true,
    ignoreMissing: options.ignoreMissing === true,
    signal: context.signal,
  };
  const dryRun = options.dryRun === true;
  const asks = !dryRun && options.yes !== true && canAsk(context.io);
  if (asks) {
    const plan = (await client.images.planRemoval(named.values, choice)).toJSON();
    for (const removal of plan.removals) show(context, removal);
    const there = plan.removals.some(({ digest, error }) => digest !== null && error === null);
    if (there && !(await confirm(context.io, "Remove?", context.signal))) {
      throw new LadingError("cancelled", "nothing was removed", { operation: "rm" });
    }
  }
  const result = dryRun
    ? await client.images.planRemoval(named.values, choice)
    : await client.images.remove(named.values, choice);
  const json = result.toJSON();
  if (!asks) for (const removal of json.removals) show(context, removal);
  const shown = json.removals.filter(({ removed, error }) => (dryRun ? error === null : removed));
  return {
    json,
    lines: shown.map((removal) => safeText(lineOf(removal))),
    failures: [...named.failures, ...json.removals.flatMap((removal) => failureOf(removal))],
  };
};

function oneImage(image: RemoteImage, text: string, allTags: boolean): RemoteImage {
  if (allTags || image.tag !== null || image.digest !== null) return image;
  throw new LadingError("usage", `${text} names a whole repository: rm needs a tag, a digest or --all-tags`, {
    image: text,
    hint: `lading rm ${text}:TAG, or lading rm --all-tags ${text}`,
  });
}

/** `name[:tag]@digest`. */
function lineOf({ image, digest }: RemovalJson): string {
  return image.includes("@") || digest === null ? image : `${image}@${digest}`;
}

/** What goes beside the name itself, on stderr. */
function show(context: CommandContext, removal: RemovalJson): void {
  const { image, digest, removes, tags, otherTags, indexes, referrers, error } = removal;
  if (error !== null) return;
  const parts = [removes === "tag" ? "the tag alone" : `the manifest ${digest}`];
  if (removes === "manifest" && tags.length > 1) parts.push(`with the tags ${tags.join(", ")}`);
  if (otherTags.length > 0) parts.push(`other tags of it: ${otherTags.join(", ")}`);
  if (indexes.length > 0) parts.push(`named by ${indexes.length} indexes: ${indexes.join(", ")}`);
  if (referrers.length > 0) parts.push(`${referrers.length} referrers: ${referrers.join(", ")}`);
  context.reporter.note(`${image}: ${parts.join("; ")}`);
}

function failureOf({ image, error }: RemovalJson): readonly LadingError[] {
  if (error === null) return [];
  const { code, message, ...details } = error;
  return [new LadingError(code, message, { ...details, image: details.image ?? image, operation: details.operation ?? "rm" })];
}
