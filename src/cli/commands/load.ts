import type { Implementation } from "../command.js";
import { inputArgument } from "../input-argument.js";
import { safeText } from "../safe-text.js";

export const load: Implementation<[source: string | undefined], { readonly force?: boolean }> = async (
  context,
  [source],
  options,
) => {
  const input = inputArgument(context.io, source ?? "-", "lading load app.tar");
  const client = await context.client();
  const result = await client.local.load(input, {
    force: options.force === true,
    progress: context.reporter.progress,
    signal: context.signal,
  });
  const json = result.toJSON();
  return { json, lines: json.images.map(({ local, id }) => safeText(local ?? id)) };
};
