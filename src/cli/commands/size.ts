import type { Implementation } from "../command.js";
import { remoteArgument } from "../remote-argument.js";
import { formatSize } from "../size.js";

export const size: Implementation<[reference: string], { readonly human?: boolean }> = async (
  context,
  [text],
  options,
) => {
  const client = await context.client();
  const result = await client.images.sizeDetailed(remoteArgument(client, text), { signal: context.signal });
  const json = result.toJSON();
  return { json, lines: [options.human === true ? formatSize(json.size) : String(json.size)] };
};
