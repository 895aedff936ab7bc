import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { localArgument } from "../local-argument.js";
import { remoteArgument } from "../remote-argument.js";
import { escapeJson, safeJson } from "../safe-text.js";

interface Options {
  readonly raw?: boolean;
  readonly local?: string;
}

export const inspect: Implementation<[reference: string | undefined], Options> = async (context, [text], options) => {
  if ((text === undefined) === (options.local === undefined)) {
    throw new LadingError("usage", "inspect takes a remote image, or --local with a local one", {
      hint: "lading inspect image:app:1, or lading inspect --local app:1",
    });
  }
  const client = await context.client();
  if (options.raw === true) {
    if (text === undefined) throw new LadingError("usage", "--raw shows the manifest of a remote image");
    const result = await client.images.inspect(remoteArgument(client, text), { signal: context.signal });
    // The bytes are somebody else's: a pipe gets them as they are, a terminal the same JSON with escapes.
    if (context.io.stdout.isTTY !== true) return { raw: result.raw };
    return { raw: Buffer.from(escapeJson(Buffer.from(result.raw).toString("utf8"))) };
  }
  const result =
    options.local === undefined
      ? await client.images.inspect(remoteArgument(client, text ?? ""), { signal: context.signal })
      : await client.local.inspect(localArgument(client, options.local), { signal: context.signal });
  const json = result.toJSON();
  return { json, lines: [safeJson(json, 2)] };
};
