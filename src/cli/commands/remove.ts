import type { Client } from "../../client.js";
import { LadingError } from "../../errors.js";
import type { RemoteImage } from "../../image/remote-image.js";
import type { Removal, RemovalJson } from "../../operations/removal-plan.js";
import type { Implementation } from "../command.js";
import type { CommandContext } from "../command-context.js";
import { asLadingError } from "../exit-code.js";
import { canAsk, confirm } from "../prompt.js";
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
  const named = texts.map((text) => readName(client, text, allTags));
  const images = named.flatMap(({ image }) => (image === null ? [] : [image]));
  const [only] = named;
  if (images.length === 0 && only?.error) throw only.error;
  const choice = {
    allTags,
    force: options.force === true,
    ignoreMissing: options.ignoreMissing === true,
    signal: context.signal,
  };
  const dryRun = options.dryRun === true;
  const asks = !dryRun && options.yes !== true && canAsk(context.io);
  if (asks) {
    const plan = (await client.images.planRemoval(images, choice)).toJSON();
    for (const removal of plan.removals) show(context, removal);
    const there = plan.removals.some(({ digest, error }) => digest !== null && error === null);
    if (there && !(await confirm(context.io, "Remove?", context.signal))) {
      throw new LadingError("cancelled", "nothing was removed", { operation: "rm" });
    }
  }
  const result = dryRun ? await client.images.planRemoval(images, choice) : await client.images.remove(images, choice);
  const json = result.toJSON();
  if (!asks) for (const removal of json.removals) show(context, removal);
  const shown = result.removals.filter(({ removed, error }) => (dryRun ? error === null : removed));
  return {
    json,
    lines: shown.map((removal) => safeText(lineOf(removal))),
    failures: named.flatMap(({ image, error }) =>
      error === null ? json.removals.flatMap((removal) => failureOf(removal, image)) : [error],
    ),
  };
};

type Name =
  | { readonly image: RemoteImage; readonly error: null }
  | { readonly image: null; readonly error: LadingError };

/** A name that can't be read fails as a missing image does: the others are still tried. */
function readName(client: Client, text: string, allTags: boolean): Name {
  try {
    const image = remoteArgument(client, text, { tagOption: allTags ? "deny" : "allow" });
    if (allTags || image.tag !== null || image.digest !== null) return { image, error: null };
    throw new LadingError("usage", `${text} names a whole repository: rm needs a tag, a digest or --all-tags`, {
      image: text,
      hint: `lading rm ${text}:TAG, or lading rm --all-tags ${text}`,
    });
  } catch (error) {
    return { image: null, error: asLadingError(error) };
  }
}

/** `name[:tag]@digest`. */
function lineOf({ image: { name, tag }, digest }: Removal): string {
  return `${name}${tag === null ? "" : `:${tag}`}@${digest}`;
}

/** What goes beside the name itself, on stderr. */
function show(context: CommandContext, removal: RemovalJson): void {
  const { image, digest, removes, tags, otherTags, indexes, referrers, needsForce, removed, error } = removal;
  if (error !== null) return;
  const parts = [removes === "tag" ? "the tag alone" : `the manifest ${digest}`];
  if (removes === "manifest" && tags.length > 1) parts.push(`with the tags ${tags.join(", ")}`);
  if (otherTags.length > 0) parts.push(`other tags of it: ${otherTags.join(", ")}`);
  if (indexes.length > 0) parts.push(`named by ${indexes.length} indexes: ${indexes.join(", ")}`);
  if (referrers.length > 0) parts.push(`${referrers.length} referrers: ${referrers.join(", ")}`);
  if (needsForce && !removed) parts.push("needs --force");
  context.reporter.note(`${image}: ${parts.join("; ")}`);
}

/** The failure of a removal that belongs to this name. */
function failureOf({ image, error }: RemovalJson, name: RemoteImage): readonly LadingError[] {
  if (error === null || (image !== name.toString() && !image.startsWith(`${name.toString()}:`))) return [];
  const { code, message, ...details } = error;
  return [
    new LadingError(code, message, { ...details, image: details.image ?? image, operation: details.operation ?? "rm" }),
  ];
}
