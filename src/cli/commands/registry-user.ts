import { readFile } from "node:fs/promises";
import { ioError, LadingError } from "../../errors.js";
import type { User } from "../../server/index.js";
import { type AccountsPlace, withAccounts } from "../accounts-access.js";
import type { CommandResult, Implementation } from "../command.js";
import { fieldLines } from "../field-lines.js";
import { ask, canAsk, passwordFromStdin } from "../prompt.js";
import { safeText } from "../safe-text.js";
import { tableLines } from "../table.js";

interface AddOptions extends AccountsPlace {
  readonly admin?: boolean;
  readonly passwordStdin?: boolean;
}

interface SetOptions extends AddOptions {
  readonly password?: boolean;
  readonly disable?: boolean;
  readonly enable?: boolean;
}

export const add: Implementation<[name: string], AddOptions> = async (context, [name], options) => {
  const password = options.passwordStdin === true ? await passwordFromStdin(context.io) : null;
  const json = await withAccounts(context, options, ({ users }) =>
    users.add({ name, password, admin: options.admin ?? null }),
  );
  if (json.newPassword === null) return { json, lines: [] };
  context.reporter.note(`made ${safeText(json.name)}; the password on stdout is good for a day: set another one with`);
  context.reporter.note(`  lading registry user set ${safeText(json.name)} --password-stdin`);
  return { json, lines: [json.newPassword] };
};

export const list: Implementation<[], AccountsPlace & { readonly long?: boolean }> = async (
  context,
  _args,
  options,
) => {
  const users = await withAccounts(context, options, (accounts) => accounts.users.list());
  const rows = users.map(({ name, admin, disabled, created }) => [
    ...[name, admin ? "admin" : "", disabled ? "disabled" : "", created],
  ]);
  const lines =
    options.long === true
      ? tableLines(context.io, ["NAME", "ADMIN", "STATE", "CREATED"], rows)
      : users.map(({ name }) => safeText(name));
  return { json: { users }, lines };
};

const shown = (user: User): CommandResult => ({ json: user, lines: fieldLines(user) });

export const show: Implementation<[name: string], AccountsPlace> = async (context, [name], options) =>
  shown(await withAccounts(context, options, ({ users }) => users.show(name)));

export const set: Implementation<[name: string], SetOptions> = async (context, [name], options) => {
  if (options.disable === true && options.enable === true) {
    throw new LadingError("usage", "--disable and --enable say opposite things");
  }
  const password = await newPassword(context, options);
  const disabled = options.disable === true ? true : options.enable === true ? false : undefined;
  const changes = {
    ...(password === null ? {} : { password }),
    ...(options.admin === undefined ? {} : { admin: options.admin }),
    ...(disabled === undefined ? {} : { disabled }),
  };
  if (Object.keys(changes).length === 0) throw new LadingError("usage", "nothing is to be changed");
  return shown(await withAccounts(context, options, ({ users }) => users.set(name, changes)));
};

async function newPassword({ io, signal }: Parameters<typeof add>[0], options: SetOptions): Promise<string | null> {
  if (options.passwordStdin === true) return await passwordFromStdin(io);
  if (options.password !== true) return null;
  if (!canAsk(io))
    throw new LadingError("usage", "there is no terminal to ask for the password", { hint: "--password-stdin" });
  const first = await ask(io, "New password: ", { hidden: true, signal });
  const second = await ask(io, "Again: ", { hidden: true, signal });
  if (first !== null && first === second) return first;
  throw new LadingError("usage", "the two passwords are not the same");
}

export const remove: Implementation<[name: string], AccountsPlace> = async (context, [name], options) => {
  const json = await withAccounts(context, options, ({ users }) => users.remove(name));
  return { json, lines: [safeText(json.name)] };
};

export const importUsers: Implementation<[file: string], AccountsPlace> = async (context, [file], options) => {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw ioError(error, `reading ${file}`);
  });
  const json = await withAccounts(context, options, ({ users }) => users.import(text));
  for (const { name, reason } of json.skipped) context.reporter.warning(`${safeText(name)}: ${reason}`);
  return { json, lines: json.imported.map((name) => safeText(name)) };
};
