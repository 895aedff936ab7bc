import { LadingError } from "../../errors.js";
import type { Organisation, SetMembers } from "../../server/index.js";
import { type AccountsPlace, withAccounts } from "../accounts-access.js";
import type { CommandResult, Implementation } from "../command.js";
import { fieldLines } from "../field-lines.js";
import { roleArgument } from "../role-argument.js";
import { safeText } from "../safe-text.js";

export interface MemberOptions extends AccountsPlace {
  readonly member?: readonly string[];
  readonly removeMember?: readonly string[];
}

/** The changes that `--member USER:ROLE` and `--remove-member USER` ask for. */
export function memberChanges({ member = [], removeMember = [] }: MemberOptions): SetMembers {
  return {
    ...(member.length === 0
      ? {}
      : {
          members: member.map((text) => {
            const { name: user, role } = roleArgument(text);
            return { user, role };
          }),
        }),
    ...(removeMember.length === 0 ? {} : { removeMembers: removeMember }),
  };
}

const shown = (org: Organisation): CommandResult => ({ json: org, lines: fieldLines(org) });

export const add: Implementation<[name: string], AccountsPlace> = async (context, [name], options) => {
  const json = await withAccounts(context, options, ({ orgs }) => orgs.add({ name }));
  return { json, lines: [safeText(json.name)] };
};

export const list: Implementation<[], AccountsPlace> = async (context, _args, options) => {
  const orgs = await withAccounts(context, options, (accounts) => accounts.orgs.list());
  return { json: { orgs }, lines: orgs.map(({ name }) => safeText(name)) };
};

export const show: Implementation<[name: string], AccountsPlace> = async (context, [name], options) =>
  shown(await withAccounts(context, options, ({ orgs }) => orgs.show(name)));

export const set: Implementation<[name: string], MemberOptions> = async (context, [name], options) => {
  const changes = memberChanges(options);
  if (Object.keys(changes).length === 0) throw new LadingError("usage", "nothing is to be changed");
  return shown(await withAccounts(context, options, ({ orgs }) => orgs.set(name, changes)));
};

export const remove: Implementation<[name: string], AccountsPlace> = async (context, [name], options) => {
  const json = await withAccounts(context, options, ({ orgs }) => orgs.remove(name));
  return { json, lines: [safeText(json.name)] };
};
