import type { Implementation } from "../command.js";
import { inputArgument } from "../input-argument.js";
import { safeText } from "../safe-text.js";

interface Options {
  readonly keepOwner?: boolean;
  readonly force?: boolean;
}

export const importImage: Implementation<[source: string, name: string], Options> = async (
  context,
  [source, name],
  options,
) => {
  const input = inputArgument(context.io, source, `lading import rootfs.tar ${name}`);
  const client = await context.client();
  const result = await client.local.import(input, client.parse.localImage(name), {
    keepOwner: options.keepOwner === true,
    force: options.force === true,
    progress: context.reporter.progress,
    signal: context.signal,
  });
  const json = result.toJSON();
  return { json, lines: [safeText(json.local)] };
};
