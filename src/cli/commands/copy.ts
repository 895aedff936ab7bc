import type { ImageFormat } from "../../engines/engine.js";
import type { CopyAllResult, CopyJson, CopyResult } from "../../operations/copy.js";
import type { Implementation } from "../command.js";
import { formatDuration } from "../duration.js";
import { remoteArgument, withHubHint } from "../remote-argument.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";

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
    progress: context.reporter.progressAs(`copy ${source} -> ${destination}`),
    signal: context.signal,
  };
  const result = await withHubHint<CopyResult | CopyAllResult>(sourceText, () =>
    allTags
      ? client.images.copy(source, destination, { ...choice, allTags })
      : client.images.copy(source, destination, choice),
  );
  const all = "copies" in result ? result.copies : [result];
  context.reporter.endProgress();
  for (const one of all) context.reporter.note(summary(one.toJSON()));
  return { json: result.toJSON(), lines: all.map(({ reference }) => safeText(reference)) };
};

function summary({ remote, unchanged, blobs, bytesSent, seconds }: CopyJson): string {
  if (unchanged) return `${remote} is up to date`;
  const { sent, mounted, existing } = blobs;
  return (
    `copied ${remote}: ${formatSize(bytesSent)} in ${sent} ${sent === 1 ? "blob" : "blobs"} sent, ${mounted} mounted, ` +
    `${existing} existing, ${formatDuration(seconds * 1000)}`
  );
}
