import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";
import { tableLines } from "../table.js";

export const images: Implementation<[glob: string | undefined], { readonly long?: boolean }> = async (
  context,
  [glob],
  options,
) => {
  const client = await context.client();
  const result = await client.local.list({ glob: glob ?? null, signal: context.signal });
  const json = result.toJSON();
  const terminal = context.io.stdout.isTTY === true;
  const lines =
    options.long === true
      ? tableLines(
          context.io,
          ["IMAGE", "ID", "SIZE", "CREATED", "PLATFORMS"],
          json.images.map(({ local, id, size, created, platforms }) => [
            local ?? "<none>",
            terminal ? id.slice(7, 19) : id,
            terminal ? formatSize(size) : String(size),
            created,
            platforms.join(","),
          ]),
        )
      : json.images.flatMap(({ local }) => (local === null ? [] : [safeText(local)]));
  return { json, lines };
};
