import { LadingError } from "../../errors.js";
import { createStyle } from "../colour.js";
import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";

const colours = { ok: "green", warn: "yellow", fail: "red", skip: "dim" } as const;

export const doctor: Implementation<[], unknown> = async (context) => {
  const client = await context.client();
  const json = (await client.doctor({ signal: context.signal })).toJSON();
  const style = createStyle(context.io.stdout, context.io.env);
  const lines = json.checks.flatMap(({ id, status, message, hint }) => [
    `${style(colours[status], status.padEnd(4))}  ${id}: ${safeText(message)}`,
    ...(hint === null ? [] : [`      ${safeText(hint)}`]),
  ]);
  const failed = json.checks.filter(({ status }) => status === "fail");
  const [first] = failed;
  if (first === undefined) return { json, lines };
  const verdict = new LadingError(
    first.code ?? "internal",
    `${failed.length} of ${json.checks.length} checks failed, the first is ${first.id}: ${first.message}`,
    {
      operation: "doctor",
      hint: first.hint,
    },
  );
  return { json, lines, verdict };
};
