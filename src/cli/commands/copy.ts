import type { ImageFormat } from "../../engines/engine.js";
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
  const results = await withHubHint(sourceText, () =>
    client.images.copy(source, destination, {
      allTags,
      referrers: options.referrers === true,
      format: options.format ?? null,
      progress: context.reporter.progress,
      signal: context.signal,
    }),
  );
  const all = results.map((result) => result.toJSON());
  // One image is one object; with --all-tags it is a list, also of one.
  return { json: allTags ? all : all[0], lines: all.map(({ reference }) => safeText(reference)) };
};
