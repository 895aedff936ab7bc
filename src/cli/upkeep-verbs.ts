import { type Command, Option } from "commander";
import type { AddVerb } from "./account-verbs.js";

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** `registry gc|check|backup|restore|quota|policy`: what keeps a registry clean, whole and within bounds. */
export function addUpkeepVerbs(registry: Command, add: AddVerb): void {
  const verb: AddVerb = (parent, signature, summary, examples, load) =>
    add(parent, signature, summary, examples, load).option(
      "--data <dir>",
      "the registry's folder; default: that of the cluster",
    );
  verb(
    registry,
    "gc",
    "remove what nothing names any more, also while the registry serves",
    ["registry gc --dry-run", "registry gc --data /srv/images --json"],
    async () => (await import("./commands/registry-gc.js")).gc,
  )
    .option("--dry-run", "only say what would be done")
    .option("--grace <duration>", "how long what nothing names stays; 0 only where nobody pushes; default: 24h");
  verb(
    registry,
    "check",
    "look whether all is there and is what it is called",
    ["registry check", "registry check --quarantine --rate 50M"],
    async () => (await import("./commands/registry-check.js")).check,
  )
    .option("--quick", "leave the content of blobs unread")
    .option("--quarantine", "take corrupt blobs out of reach, so that a push repairs them")
    .option("--rate <size>", "read so much in a second at most");
  const backups = () => import("./commands/registry-backup.js");
  verb(
    registry,
    "backup <target>",
    "copy a registry, also while it serves, to a new folder or .tar",
    ["registry backup /backup/images-2026-11-28", "registry backup images.tar --data /srv/images"],
    async () => (await backups()).backup,
  );
  verb(
    registry,
    "restore <source>",
    "make a registry's folder of a backup; it must not be there, or be empty",
    ["registry restore images.tar --data /srv/images"],
    async () => (await backups()).restore,
  );
  const quota = registry.command("quota").description("bounds on what owners hold");
  const quotas = () => import("./commands/registry-quota.js");
  verb(
    quota,
    "set <owner> <size>",
    "bound what an owner's repositories hold",
    ["registry quota set alice 50G"],
    async () => (await quotas()).set,
  );
  verb(
    quota,
    "list",
    "list owners with what they hold",
    ["registry quota list --json"],
    async () => (await quotas()).list,
  );
  verb(
    quota,
    "remove <owner>",
    "take a bound away",
    ["registry quota remove alice"],
    async () => (await quotas()).remove,
  );
  const policy = registry.command("policy").description("which tags and manifests stay, move and go");
  const policies = () => import("./commands/registry-policy.js");
  const repeated = (flags: string, text: string) => new Option(flags, `${text}; repeatable`).argParser(collect);
  verb(
    policy,
    "set <scope>",
    "put a policy on a repository and all below it, '*' for all",
    ["registry policy set alice --keep-last 10 --keep 'v*'", "registry policy set '*' --untagged-days 30"],
    async () => (await policies()).set,
  )
    .option("--keep-last <number>", "of the other tags so many stay, the ones that moved last")
    .addOption(repeated("--keep <pattern>", "tags that stay whatever their age"))
    .option("--untagged-days <number>", "manifests without a tag go after so many days")
    .addOption(repeated("--immutable <pattern>", "tags that can neither be moved nor deleted"));
  verb(policy, "list", "list the policies", ["registry policy list"], async () => (await policies()).list);
  verb(
    policy,
    "remove <scope>",
    "take a policy away",
    ["registry policy remove alice"],
    async () => (await policies()).remove,
  );
}
