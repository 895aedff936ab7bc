import { LadingError } from "../../errors.js";
import { type AccountsPlace, withAccounts } from "../accounts-access.js";
import type { Implementation } from "../command.js";
import { parseDuration } from "../duration.js";
import { fieldLines } from "../field-lines.js";
import { roleArgument } from "../role-argument.js";
import { safeText } from "../safe-text.js";
import { tableLines } from "../table.js";

interface AddOptions extends AccountsPlace {
  readonly label?: string;
  readonly scope?: readonly string[];
  readonly expires?: string;
}

const day = 24 * 60 * 60_000;

/** A date, or a time from now: `2027-01-31`, `90d`, `12h`. @throws LadingError `usage` */
function expiry(text: string): string {
  const days = /^(\d{1,5})d$/.exec(text);
  const date = /^\d{4}-\d\d-\d\d(?:T.*)?$/.test(text) ? Date.parse(text) : null;
  if (date !== null && Number.isNaN(date)) throw new LadingError("usage", `${JSON.stringify(text)} is not a date`);
  return new Date(date ?? Date.now() + (days === null ? parseDuration(text) : Number(days[1]) * day)).toISOString();
}

export const add: Implementation<[owner: string], AddOptions> = async (context, [owner], options) => {
  const grants = options.scope?.map((text) => {
    const { name: scope, role } = roleArgument(text);
    return { scope, role };
  });
  const expires = options.expires === undefined ? null : expiry(options.expires);
  const json = await withAccounts(context, options, ({ keys }) =>
    keys.add({ owner, label: options.label ?? null, grants: grants ?? null, expires }),
  );
  context.reporter.note(`made the key ${json.id}; it is shown this once, and takes the place of a password`);
  return { json, lines: [json.key] };
};

export const list: Implementation<[], AccountsPlace & { readonly long?: boolean }> = async (
  context,
  _args,
  options,
) => {
  const keys = await withAccounts(context, options, (accounts) => accounts.keys.list());
  const rows = keys.map(({ id, owner, label, expires, lastUsed }) => [id, owner, label, expires, lastUsed]);
  const lines =
    options.long === true
      ? tableLines(context.io, ["ID", "OWNER", "LABEL", "EXPIRES", "LAST USED"], rows)
      : keys.map(({ id }) => safeText(id));
  return { json: { keys }, lines };
};

export const show: Implementation<[id: string], AccountsPlace> = async (context, [id], options) => {
  const json = await withAccounts(context, options, ({ keys }) => keys.show(id));
  return { json, lines: fieldLines(json) };
};

export const remove: Implementation<[id: string], AccountsPlace> = async (context, [id], options) => {
  const json = await withAccounts(context, options, ({ keys }) => keys.remove(id));
  return { json, lines: [safeText(json.id)] };
};
