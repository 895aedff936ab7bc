import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { localArgument } from "../local-argument.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";

export const repair: Implementation<[locals: readonly string[]], unknown> = async (context, [texts]) => {
  const client = await context.client();
  const locals = texts.length === 0 ? null : texts.map((text) => localArgument(client, text));
  const { progress } = context.reporter;
  const json = (await client.local.repair(locals, { progress, signal: context.signal })).toJSON();
  const { blobs, bytes } = json.checked;
  context.reporter.note(`read ${blobs} blobs, ${formatSize(bytes)}, in ${json.store}`);
  const lines: string[] = [];
  for (const { action, digest, kind, source, aside, error } of json.repairs) {
    const how = source === null ? kind : `from ${safeText(source)}`;
    lines.push(`${action}  ${digest ?? "index.json"}  ${how}`);
    if (aside !== null) context.reporter.note(`${digest}: the damaged bytes are in ${aside}`);
    if (error !== null) lines.push(`        ${safeText(error.message)}`, `        ${safeText(error.hint ?? "")}`);
  }
  const failed = json.repairs.filter(({ action }) => action === "failed");
  const [first] = failed;
  if (first?.error === undefined || first.error === null) return { json, lines };
  const { code, message, ...details } = first.error;
  const verdict = new LadingError(
    code,
    `${failed.length} of ${json.repairs.length} could not be repaired: ${message}`,
    details,
  );
  return { json, lines, verdict };
};
