import type { Implementation } from "../command.js";
import { remoteArgument } from "../remote-argument.js";

export const digest: Implementation<[reference: string], unknown> = async (context, [text]) => {
  const client = await context.client();
  const result = await client.images.digestDetailed(remoteArgument(client, text), {
    platform: context.flags.platform ?? null,
    signal: context.signal,
  });
  const json = result.toJSON();
  return { json, lines: [json.digest] };
};
