import type { Implementation } from "../command.js";
import { localArgument } from "../local-argument.js";
import { safeText } from "../safe-text.js";

export const tag: Implementation<[source: string, target: string], unknown> = async (context, [source, target]) => {
  const client = await context.client();
  const local = await client.local.tag(localArgument(client, source), client.parse.localImage(target), {
    signal: context.signal,
  });
  return { json: { source, local: local.toString() }, lines: [safeText(local.toString())] };
};
