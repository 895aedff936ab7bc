import { type Command, Option } from "commander";
import type { Implementation } from "./command.js";

/** Adds one verb to a parent: its signature, what it does, examples, and where its implementation is. */
export type AddVerb = <Arguments extends readonly unknown[], Options>(
  parent: Command,
  signature: string,
  summary: string,
  examples: readonly string[],
  load: () => Promise<Implementation<Arguments, Options>>,
) => Command;

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** `registry user|org|project|key …`: the accounts of a registry, in its folder or through its server. */
export function addAccountVerbs(registry: Command, add: AddVerb): void {
  const verb: AddVerb = (parent, signature, summary, examples, load) =>
    add(parent, signature, summary, examples, load)
      .option("--data <dir>", "the registry's folder; default: that of the cluster")
      .option("--registry <host>", "a registry elsewhere, with the credentials of `lading login`");
  const repeated = (flags: string, text: string) => new Option(flags, `${text}; repeatable`).argParser(collect);
  const member = () => repeated("--member <user:role>", "add, or give another role");
  const removeMember = () => repeated("--remove-member <user>", "take out");

  const user = registry.command("user").description("people who may log in");
  const users = () => import("./commands/registry-user.js");
  verb(
    user,
    "add <name>",
    "add a user; without a password one is made up and printed",
    ["registry user add alice", "registry user add alice --password-stdin < secret"],
    async () => (await users()).add,
  )
    .option("--admin", "may do everything in this registry")
    .option("--password-stdin", "read the password from stdin");
  verb(user, "list", "list the users", ["registry user list -l"], async () => (await users()).list).option(
    "-l, --long",
    "a table",
  );
  verb(user, "show <name>", "show a user", ["registry user show alice"], async () => (await users()).show);
  verb(
    user,
    "set <name>",
    "change a user",
    ["registry user set alice --password", "registry user set alice --disable"],
    async () => (await users()).set,
  )
    .option("--password", "ask for a new password")
    .option("--password-stdin", "read the new password from stdin")
    .option("--admin", "make an admin")
    .option("--no-admin", "make no admin")
    .option("--disable", "let in no more")
    .option("--enable", "let in again");
  verb(user, "remove <name>", "remove a user", ["registry user remove alice"], async () => (await users()).remove);
  verb(
    user,
    "import <file>",
    "add the users of an htpasswd file with bcrypt hashes",
    ["registry user import ./htpasswd"],
    async () => (await users()).importUsers,
  );

  const org = registry.command("org").description("organisations: the first component of a repository's name");
  const orgs = () => import("./commands/registry-org.js");
  verb(org, "add <name>", "add an organisation", ["registry org add acme"], async () => (await orgs()).add);
  verb(org, "list", "list the organisations", ["registry org list"], async () => (await orgs()).list);
  verb(org, "show <name>", "show an organisation", ["registry org show acme"], async () => (await orgs()).show);
  verb(
    org,
    "set <name>",
    "change the members of an organisation",
    ["registry org set acme --member alice:admin --member bob:write", "registry org set acme --remove-member bob"],
    async () => (await orgs()).set,
  )
    .addOption(member())
    .addOption(removeMember());
  verb(org, "remove <name>", "remove an organisation", ["registry org remove acme"], async () => (await orgs()).remove);

  const project = registry.command("project").description("parts of an organisation: public or private, with members");
  const projects = () => import("./commands/registry-project.js");
  verb(
    project,
    "add <name>",
    "add a project",
    ["registry project add acme/web", "registry project add acme/docs --public"],
    async () => (await projects()).add,
  )
    .option("--public", "everybody may pull")
    .option("--private", "members alone may pull; the default");
  verb(project, "list", "list the projects", ["registry project list"], async () => (await projects()).list);
  verb(
    project,
    "show <name>",
    "show a project",
    ["registry project show acme/web"],
    async () => (await projects()).show,
  );
  verb(
    project,
    "set <name>",
    "change a project",
    ["registry project set acme/web --public", "registry project set acme/web --member bob:none"],
    async () => (await projects()).set,
  )
    .option("--public", "everybody may pull")
    .option("--private", "members alone may pull")
    .addOption(member())
    .addOption(removeMember());
  verb(
    project,
    "remove <name>",
    "remove a project; its repositories stay",
    ["registry project remove acme/web"],
    async () => (await projects()).remove,
  );

  const key = registry.command("key").description("API keys, which take the place of a password");
  const keys = () => import("./commands/registry-key.js");
  verb(
    key,
    "add <owner>",
    "make a key for a user, or for a robot of an organisation; it is printed this once",
    ["registry key add alice --expires 90d", "registry key add acme --label ci --scope acme/web:write"],
    async () => (await keys()).add,
  )
    .option("--label <text>", "what it is for")
    .addOption(repeated("--scope <scope:role>", "what it may do; default for a user's: whatever the user may"))
    .option("--expires <when>", "date, or time from now: 2027-01-31, 90d; default: never");
  verb(key, "list", "list the keys", ["registry key list -l"], async () => (await keys()).list).option(
    "-l, --long",
    "a table",
  );
  verb(key, "show <id>", "show a key", ["registry key show 0123456789abcdef"], async () => (await keys()).show);
  verb(key, "remove <id>", "end a key", ["registry key remove 0123456789abcdef"], async () => (await keys()).remove);
}
