import type { Implementation } from "../command.js";
import { remoteArgument } from "../remote-argument.js";
import { tableLines } from "../table.js";
import { tagCells, tagHeading } from "../tag-row.js";

export const info: Implementation<[reference: string], unknown> = async (context, [text]) => {
  const client = await context.client();
  const result = await client.images.info(remoteArgument(client, text), { signal: context.signal });
  const json = result.toJSON();
  return { json, lines: tableLines(context.io, tagHeading, [tagCells(json, context.io.stdout.isTTY === true)]) };
};
