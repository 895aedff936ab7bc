import type { Implementation } from "../command.js";
import { remoteArgument } from "../remote-argument.js";
import { safeText } from "../safe-text.js";
import { tableLines } from "../table.js";
import { tagCells, tagHeading } from "../tag-row.js";

interface Options {
  readonly long?: boolean;
  readonly sort?: "name" | "date" | "size";
  readonly filter?: string;
  readonly fullRef?: boolean;
}

export const tags: Implementation<[reference: string], Options> = async (context, [text], options) => {
  const client = await context.client();
  const result = await client.images.tagsDetailed(remoteArgument(client, text, { tagOption: "deny" }), {
    details: options.long === true,
    sort: options.sort ?? null,
    filter: options.filter ?? null,
    signal: context.signal,
  });
  const json = result.toJSON();
  const shown = json.tags.map((row) => ({
    ...row,
    tag: options.fullRef === true ? `${json.reference}:${row.tag}` : row.tag,
  }));
  for (const { tag, error } of json.tags) {
    if (error !== null) context.reporter.warning(`${tag}: ${typeof error === "string" ? error : error.message}`);
  }
  const terminal = context.io.stdout.isTTY === true;
  const lines =
    options.long === true
      ? tableLines(
          context.io,
          tagHeading,
          shown.map((row) => tagCells(row, terminal)),
        )
      : shown.map(({ tag }) => safeText(tag));
  return { json, lines };
};
