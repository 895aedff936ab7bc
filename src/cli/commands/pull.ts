import type { Implementation } from "../command.js";
import { formatDuration } from "../duration.js";
import { remoteArgument, withHubHint } from "../remote-argument.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";

export const pull: Implementation<[remote: string, local: string | undefined], unknown> = async (
  context,
  [remoteText, localText],
) => {
  const client = await context.client();
  const remote = remoteArgument(client, remoteText, { hub: context.reporter });
  const local = localText === undefined ? null : client.parse.localImage(localText);
  const result = await withHubHint(remoteText, async () => {
    await context.noteEngine(client);
    return await client.images.pullDetailed(remote, local, {
      progress: context.reporter.progress,
      signal: context.signal,
    });
  });
  const json = result.toJSON();
  context.reporter.endProgress();
  const { received, existing } = json.blobs;
  if (json.previousId !== null && json.previousId !== json.id) {
    context.reporter.note(`${json.local} was ${json.previousId} before`);
  }
  context.reporter.note(
    json.unchanged
      ? `${json.local} is up to date`
      : `pulled ${json.local}: ${formatSize(json.bytesReceived)} in ${received} ${received === 1 ? "blob" : "blobs"} received, ` +
          `${existing} existing, ${formatDuration(json.seconds * 1000)}`,
  );
  return { json, lines: [safeText(json.local)] };
};
