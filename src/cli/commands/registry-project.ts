import { LadingError } from "../../errors.js";
import type { Project } from "../../server/index.js";
import { type AccountsPlace, withAccounts } from "../accounts-access.js";
import type { CommandResult, Implementation } from "../command.js";
import { fieldLines } from "../field-lines.js";
import { safeText } from "../safe-text.js";
import { type MemberOptions, memberChanges } from "./registry-org.js";

interface Visibility {
  readonly public?: boolean;
  readonly private?: boolean;
}

function visibilityOf(options: Visibility): Project["visibility"] | null {
  if (options.public === true && options.private === true) {
    throw new LadingError("usage", "--public and --private say opposite things");
  }
  return options.public === true ? "public" : options.private === true ? "private" : null;
}

const shown = (project: Project): CommandResult => ({ json: project, lines: fieldLines(project) });

export const add: Implementation<[name: string], AccountsPlace & Visibility> = async (context, [name], options) => {
  const json = await withAccounts(context, options, ({ projects }) =>
    projects.add({ name, visibility: visibilityOf(options) }),
  );
  return { json, lines: [safeText(json.name)] };
};

export const list: Implementation<[], AccountsPlace> = async (context, _args, options) => {
  const projects = await withAccounts(context, options, (accounts) => accounts.projects.list());
  return { json: { projects }, lines: projects.map(({ name }) => safeText(name)) };
};

export const show: Implementation<[name: string], AccountsPlace> = async (context, [name], options) =>
  shown(await withAccounts(context, options, ({ projects }) => projects.show(name)));

export const set: Implementation<[name: string], MemberOptions & Visibility> = async (context, [name], options) => {
  const visibility = visibilityOf(options);
  const changes = { ...memberChanges(options), ...(visibility === null ? {} : { visibility }) };
  if (Object.keys(changes).length === 0) throw new LadingError("usage", "nothing is to be changed");
  return shown(await withAccounts(context, options, ({ projects }) => projects.set(name, changes)));
};

export const remove: Implementation<[name: string], AccountsPlace> = async (context, [name], options) => {
  const json = await withAccounts(context, options, ({ projects }) => projects.remove(name));
  return { json, lines: [safeText(json.name)] };
};
