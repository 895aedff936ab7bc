import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { completionScriptOf, shells } from "../completion.js";

export const completion: Implementation<[shell: string], unknown> = async (_context, [shell]) => {
  const known = shells.find((candidate) => candidate === shell);
  if (known === undefined) {
    throw new LadingError("usage", `${JSON.stringify(shell)} is not a shell that has completions`, {
      hint: `one of ${shells.join(", ")}`,
    });
  }
  const script = completionScriptOf(known);
  return { json: { shell: known, script }, lines: [script.trimEnd()] };
};
