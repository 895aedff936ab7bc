import type { ImageFormat } from "../../engines/engine.js";
import type { CopyAllResult, CopyResult } from "../../operations/copy.js";
import type { Implementation } from "../command.js";
import { remoteArgument, withHubHint } from "../remote-argument.js";
import { safeText } from "../safe-text.js";

interface Options {
  readonly allTags?: boolean;
  readonly referrers?: boolean;
  readonly format?: ImageFormat;
}

export const copy: Implementation<[source: string, destination: string], Options> = async (
  context,
  [sourceText, destinationText],
  options,
) => {
  const client = await context.client();
  const allTags = options.allTags === true;
  const tagOption = allTags ? "deny" : "default";
  // The destination first: what is wrong there needs no word about the source.
  const destination = remoteArgument(client, destinationText, { tagOption });
  const source = remoteArgument(client, sourceText, { tagOption, hub: context.reporter });
  const choice = {
    referrers: options.referrers === true,
    format: options.format ?? null,
    progress: context.reporter.progress,
    signal: context.signal,
  };
  const result = await withHubHint<CopyResult | CopyAllResult>(sourceText, () =>
    allTags
      ? client.images.copy(source, destination, { ...choice, allTags })
      : client.images.copy(source, destination, choice),
  );
  const all = "copies" in result ? result.copies : [result];
  return { json: result.toJSON(), lines: all.map(({ reference }) => safeText(reference)) };
};
