import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";
import { tableLines } from "../table.js";

interface Options {
  readonly long?: boolean;
  readonly registry?: string;
}

export const list: Implementation<[glob: string | undefined], Options> = async (context, [glob], options) => {
  const client = await context.client();
  const result = await client.images.listDetailed(null, {
    glob: glob ?? null,
    registry: options.registry ?? null,
    signal: context.signal,
  });
  const json = result.toJSON();
  const lines =
    options.long === true
      ? tableLines(
          context.io,
          ["IMAGE", "ORG", "OWNER", "NAME", "REFERENCE"],
          json.images.map(({ image, org, owner, name, reference }) => [image, org, owner, name, reference]),
        )
      : json.images.map(({ image }) => safeText(image));
  return { json, lines };
};
