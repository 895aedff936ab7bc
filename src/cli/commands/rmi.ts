import type { Implementation } from "../command.js";
import { each } from "../each.js";
import { localArgument } from "../local-argument.js";
import { safeText } from "../safe-text.js";

export const rmi: Implementation<[locals: readonly string[]], { readonly force?: boolean }> = async (
  context,
  [texts],
  options,
) => {
  const client = await context.client();
  const { values, failures } = await each(texts, async (text) => {
    const local = localArgument(client, text);
    await client.local.remove(local, { force: options.force === true, signal: context.signal });
    return local.toString();
  });
  return { json: { removed: values }, lines: values.map((local) => safeText(local)), failures };
};
