import type { ImageFormat } from "../../engines/engine.js";
import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { formatDuration } from "../duration.js";
import { localArgument } from "../local-argument.js";
import { remoteArgument } from "../remote-argument.js";
import { formatSize } from "../size.js";

interface Options {
  readonly tag?: readonly string[];
  readonly clobber: boolean;
  readonly format?: ImageFormat;
}

export const push: Implementation<[local: string, remote: string | undefined], Options> = async (
  context,
  [localText, remoteText],
  options,
) => {
  const client = await context.client();
  const local = localArgument(client, localText);
  const remote = remoteText === undefined ? null : remoteArgument(client, remoteText);
  if (remote === null && typeof local === "string") {
    throw new LadingError("usage", "an image ID has no name to push it to", {
      image: localText,
      hint: `lading push ${localText} image:NAME:TAG`,
    });
  }
  await context.noteEngine(client);
  const result = await client.images.pushDetailed(local, remote, {
    tags: options.tag ?? null,
    noClobber: !options.clobber,
    format: options.format ?? null,
    progress: context.reporter.progress,
    signal: context.signal,
  });
  const json = result.toJSON();
  const { sent, mounted, existing } = json.blobs;
  context.reporter.endProgress();
  context.reporter.note(
    json.unchanged
      ? `${json.remote} is up to date`
      : `pushed ${json.remote}: ${formatSize(json.bytesSent)} in ${sent} ${sent === 1 ? "blob" : "blobs"} sent, ${mounted} mounted, ` +
          `${existing} existing, ${formatDuration(json.seconds * 1000)}`,
  );
  return { json, lines: [json.reference] };
};
