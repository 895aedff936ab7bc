import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { localArgument } from "../local-argument.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";

export const verify: Implementation<[locals: readonly string[]], unknown> = async (context, [texts]) => {
  const client = await context.client();
  const locals = texts.length === 0 ? null : texts.map((text) => localArgument(client, text));
  const { progress } = context.reporter;
  const json = (await client.local.verify(locals, { progress, signal: context.signal })).toJSON();
  const { blobs, bytes } = json.checked;
  context.reporter.note(`read ${blobs} blobs, ${formatSize(bytes)}, in ${json.store}`);
  const lines = [
    ...json.images.map(({ local, digest, ok }) => `${ok ? "ok  " : "fail"}  ${safeText(local ?? digest)}`),
    ...json.problems.flatMap(({ kind, digest, images, message, hint }) => [
      `${kind}  ${digest ?? "index.json"}${images.length === 0 ? "" : `  (${images.map((name) => safeText(name)).join(", ")})`}`,
      `      ${safeText(message)}`,
      `      ${safeText(hint)}`,
    ]),
  ];
  const [first] = json.problems;
  if (first === undefined) return { json, lines };
  const verdict = new LadingError(
    "digest-mismatch",
    `${json.problems.length} ${json.problems.length === 1 ? "thing is" : "things are"} wrong in the store, the first is ${first.digest ?? "index.json"}: ${first.message}`,
    { operation: "verify", digest: first.digest, hint: first.hint },
  );
  return { json, lines, verdict };
};
