import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { dataFolder } from "../data-folder.js";
import { safeText } from "../safe-text.js";

interface Options {
  readonly data?: string;
  readonly admin: string;
}

export const init: Implementation<[], Options> = async (context, _args, { data, admin }) => {
  const directory = data ?? (await dataFolder(context));
  const { createRegistry, holderOf } = await import("../../server/index.js");
  const holder = await holderOf(directory);
  if (holder !== null) {
    throw new LadingError("conflict", `process ${holder.pid} serves ${directory} without asking who comes`, {
      hint: "stop that server first",
    });
  }
  const registry = createRegistry({ storage: { directory }, accounts: true });
  try {
    const { user, password } = await registry.initAccounts(admin);
    context.reporter.note(
      `made the admin ${safeText(user)}; the password on stdout is good for a day: set another one with`,
    );
    context.reporter.note(`  lading registry user set ${safeText(user)} --password-stdin`);
    return { json: { data: directory, user, password }, lines: [password] };
  } finally {
    await registry.close();
  }
};
