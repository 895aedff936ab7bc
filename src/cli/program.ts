// Over 300 lines, since it is one table of all verbs on purpose: what `--help`, completion and the tests of the surface read. What a verb
// does is in commands/, and is loaded when it runs.
import { Command, Option } from "commander";
import { version } from "../version.js";
import { addAccountVerbs } from "./account-verbs.js";
import type { CommandResult, Implementation } from "./command.js";
import type { CommandContext } from "./command-context.js";
import { engineChoices, type GlobalFlags, progressChoices } from "./global-flags.js";
import type { Io } from "./io.js";
import { addUpkeepVerbs } from "./upkeep-verbs.js";

/** Runs what a verb does, with the flags that every verb has. */
export type Execute = (flags: GlobalFlags, task: (context: CommandContext) => Promise<CommandResult>) => Promise<void>;

const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/**
 * The whole command line. Nothing but commander is loaded by building it.
 * @param onHelp Given the help that goes with an error, where a verb is missing.
 * @param only The verb that was asked for: the others are left out, since to describe them all takes as long as the rest of
 * the start. All are there where it is no verb.
 */
export function buildProgram(
  io: Io,
  execute: Execute,
  onHelp: (text: string) => void = () => undefined,
  only?: string,
): Command {
  const program = new Command("lading");
  program
    .description("Moves container images between a local engine and a registry.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [verb]", "show help for a verb")
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      writeOut: (text) => {
        io.stdout.write(text);
      },
      // What commander has to say about an error comes back as an exception.
      writeErr: onHelp,
      outputError: () => undefined,
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride();
  addGlobalFlags(program);
  program.addHelpText(
    "after",
    `
Examples:
  $ lading push app:1                        # from the local engine to image:app:1
  $ lading pull image:app:1                  # and back
  $ lading copy docker.io/library/alpine:3 image:alpine:3
  $ lading tags -l image:app

A remote image is image:NAME[:TAG], image://CLUSTER/OWNER/NAME[:TAG] or HOST/PATH[:TAG].`,
  );
  addVerbs(program, execute, only);
  return program;
}

function addGlobalFlags(program: Command): void {
  program
    .addOption(new Option("--engine <kind>", "where local images live").choices(engineChoices))
    .option("--store <dir>", "folder of Lading's own store")
    .option("--config <file>", "configuration file")
    .option("--cluster <name>", "current cluster")
    .option("--owner <name>", "current owner")
    .option("--org <name>", "current organisation")
    .option("--platform <os/arch>", "os/architecture[/variant], or all")
    .addOption(
      new Option(
        "--insecure <host[:port]>",
        "registry without TLS or with an unknown certificate; repeatable",
      ).argParser(collect),
    )
    .option("--ca-file <file>", "PEM file with further certificate authorities")
    .option("--json", "print one JSON value")
    .option("-q, --quiet", "nothing on stderr but errors")
    .addOption(new Option("--progress <mode>", "how progress is shown on stderr").choices(progressChoices))
    .option("--timeout <duration>", "time for the whole command: 90s, 10m, bare seconds")
    .option("--limit-rate <bytes>", "bytes a second, both ways together: 500k, 5M; 0 for no limit")
    .option("--debug", "say what happens, with causes of errors");
}

/** Under the examples of a verb that acts on the store alone. */
function storeNote(text: string): string {
  return `\n${text}\nIt acts on the store, also where the engine in use is another one: there the store caches what passes through.`;
}

function addVerbs(program: Command, execute: Execute, only: string | undefined): void {
  /** One verb: the shape of its command line, and where its implementation is. */
  function verb<Arguments extends readonly unknown[], Options>(
    parent: Command,
    signature: string,
    summary: string,
    examples: readonly string[],
    load: () => Promise<Implementation<Arguments, Options>>,
  ): Command {
    return parent
      .command(signature)
      .description(summary)
      .addHelpText("after", `\nExamples:\n${examples.map((example) => `  $ lading ${example}`).join("\n")}`)
      .action(async (...parameters: unknown[]) => {
        const command = parameters.at(-1) as Command;
        const options = parameters.at(-2) as Options;
        // Commander gives exactly the arguments of the signature, missing ones undefined.
        const args = parameters.slice(0, -2) as unknown as Arguments;
        const flags = { ...command.optsWithGlobals() } as GlobalFlags;
        await execute(flags, async (context) => (await load())(context, args, options));
      });
  }
  const format = () => new Option("--format <format>", "media types of the manifest").choices(["docker", "oci"]);
  /** By the name that is typed. Each knows its own aliases. */
  const verbs: Readonly<Record<string, () => unknown>> = {
    push: () =>
      verb(
        program,
        "push <local> [remote]",
        "push a local image to a registry",
        [
          "push app:1",
          "push app:1 image:/bob/app:2 --tag latest",
          "push app:1 registry.example.org/team/app:1 --format oci",
        ],
        async () => (await import("./commands/push.js")).push,
      )
        .addOption(new Option("-t, --tag <tag>", "one more tag in the registry; repeatable").argParser(collect))
        .option("--no-clobber", "refuse to move a tag that points at another image")
        .addOption(format()),
    pull: () =>
      verb(
        program,
        "pull <remote> [local]",
        "pull an image into the local engine",
        ["pull image:app:1", "pull image:app:1 app:copy", "pull quay.io/org/app:v2 --platform linux/arm64"],
        async () => (await import("./commands/pull.js")).pull,
      ),
    copy: () =>
      verb(
        program,
        "copy <src> <dst>",
        "copy an image from registry to registry",
        [
          "copy docker.io/library/alpine:3.20 image:alpine:3.20",
          "copy image:app image://other/bob/app --all-tags",
          "copy image:app:1 registry.example.org/team/app:1 --referrers",
        ],
        async () => (await import("./commands/copy.js")).copy,
      )
        .option("--all-tags", "every tag of the repository")
        .option("--referrers", "signatures, SBOMs and other referrers too")
        .addOption(format()),
    ls: () =>
      verb(
        program,
        "ls [glob]",
        "list the images of a cluster or registry",
        ["ls", "ls 'app*'", "ls -l --registry registry.example.org"],
        async () => (await import("./commands/list.js")).list,
      )
        .option("-l, --long", "a table")
        .option("--registry <host>", "list this registry instead of the current cluster's"),
    tags: () =>
      verb(
        program,
        "tags <ref>",
        "list the tags of an image",
        ["tags image:app", "tags -l --sort date image:app", "tags --filter 'v1.*' --full-ref image:app"],
        async () => (await import("./commands/tags.js")).tags,
      )
        .option("-l, --long", "digest, size, date and platforms of each tag")
        .addOption(new Option("--sort <by>", "order").choices(["name", "date", "size"]))
        .option("--filter <glob>", "tags that match")
        .option("--full-ref", "host/path:tag instead of the bare tag"),
    size: () =>
      verb(
        program,
        "size <ref>",
        "print the compressed size of an image in bytes",
        ["size image:app:1", "size --human docker.io/library/alpine:3.20"],
        async () => (await import("./commands/size.js")).size,
      ).option("--human", "with a unit, for people"),
    digest: () =>
      verb(
        program,
        "digest <ref>",
        "print the digest of an image",
        ["digest image:app:1", "digest image:app:1 --platform linux/arm64"],
        async () => (await import("./commands/digest.js")).digest,
      ),
    info: () =>
      verb(
        program,
        "info <ref>",
        "print one row of `tags -l`",
        ["info image:app:1", "info image:app:1 --json"],
        async () => (await import("./commands/info.js")).info,
      ),
    inspect: () =>
      verb(
        program,
        "inspect [ref]",
        "show manifest, config and layers of an image",
        ["inspect image:app:1", "inspect image:app:1 --raw", "inspect --local app:1"],
        async () => (await import("./commands/inspect.js")).inspect,
      )
        .option("--raw", "the manifest's own bytes")
        .option("--local <name>", "an image of the local engine"),
    rm: () =>
      verb(
        program,
        "rm <ref...>",
        "remove tags or images from a registry",
        ["rm image:app:1", "rm --dry-run image:app:1 image:app:2", "rm --all-tags --yes image:old"],
        async () => (await import("./commands/remove.js")).remove,
      )
        .option("-n, --dry-run", "only show what would be removed")
        .option("-f, --force", "also where other tags point at the same image")
        .option("-y, --yes", "do not ask")
        .option("--all-tags", "every tag of the repository")
        .option("--ignore-missing", "what is not there counts as removed"),
    images: () =>
      verb(
        program,
        "images [glob]",
        "list local images",
        ["images", "images 'app*'", "images -l --engine store"],
        async () => (await import("./commands/images.js")).images,
      ).option("-l, --long", "a table"),
    tag: () =>
      verb(
        program,
        "tag <source> <target>",
        "give a local image one more name",
        ["tag app:1 app:stable"],
        async () => (await import("./commands/tag.js")).tag,
      ),
    rmi: () =>
      verb(
        program,
        "rmi <local...>",
        "remove local images",
        ["rmi app:1", "rmi --force app:1 app:2"],
        async () => (await import("./commands/rmi.js")).rmi,
      ).option("-f, --force", "also where it is in use"),
    load: () =>
      verb(
        program,
        "load [source]",
        "load images from an archive, an OCI layout or stdin",
        ["load app.tar", "load ./oci-layout", "docker save app:1 | lading load --engine store"],
        async () => (await import("./commands/load.js")).load,
      ).option("-f, --force", "move tags that point at another image"),
    save: () =>
      verb(
        program,
        "save <name...>",
        "save local images as an archive or an OCI layout",
        ["save app:1 -o app.tar", "save app:1 app:2 --as oci-dir -o ./layout", "save app:1 | ssh host docker load"],
        async () => (await import("./commands/save.js")).save,
      )
        .option("-o, --output <path>", "file or folder; - is stdout", "-")
        .addOption(
          new Option("--as <form>", "form of the output").choices(["docker-archive", "oci-archive", "oci-dir"]),
        ),
    import: () =>
      verb(
        program,
        "import <source> <name>",
        "make a one-layer image of a folder or a tar",
        ["import ./rootfs base:1", "tar c app | lading import - app:1"],
        async () => (await import("./commands/import.js")).importImage,
      )
        .option("--keep-owner", "keep the owners of files; default: root")
        .option("-f, --force", "move a tag that points at another image"),
    verify: () =>
      verb(
        program,
        "verify [name...]",
        "read Lading's own store and say what is damaged",
        ["verify", "verify app:1", "verify --json"],
        async () => (await import("./commands/verify.js")).verify,
      ).addHelpText("after", storeNote("Nothing is changed. Ends with 65 where something is wrong.")),
    repair: () =>
      verb(
        program,
        "repair [name...]",
        "fetch again what is damaged in Lading's own store",
        ["repair", "repair app:1"],
        async () => (await import("./commands/repair.js")).repair,
      ).addHelpText(
        "after",
        storeNote(
          "What is damaged is moved to .lading/corrupt in the store, and fetched from where its image came from or went to.",
        ),
      ),
    prune: () =>
      verb(
        program,
        "prune",
        "remove from Lading's own store what no image there needs",
        ["prune --dry-run", "prune", "prune --older-than 7d"],
        async () => (await import("./commands/prune.js")).prune,
      )
        .alias("gc")
        .option("-n, --dry-run", "only show what would go, and how many bytes")
        .option("--older-than <age>", "spare what was used since: 12h, 7d, 0; default: 24h, unfinished downloads 7d")
        .addHelpText("after", storeNote("Safe while transfers run: what they use stays.")),
    login: () =>
      verb(
        program,
        "login [target]",
        "check and store the credentials of a registry",
        ["login -u alice", "login registry.example.org -u alice --password-stdin < secret"],
        async () => (await import("./commands/login.js")).login,
      )
        .option("-u, --username <user>", "user name")
        .option("--password-stdin", "read the password from stdin"),
    logout: () =>
      verb(
        program,
        "logout [target]",
        "forget the credentials of a registry",
        ["logout", "logout registry.example.org"],
        async () => (await import("./commands/logout.js")).logout,
      ),
    serve: () =>
      verb(
        program,
        "serve",
        "serve the embedded registry over HTTP",
        ["serve", "serve --data /srv/lading --port 0", "serve --host 0.0.0.0 --accounts"],
        async () => (await import("./commands/serve.js")).serve,
      )
        .option("--data <dir>", "the registry's folder; default: that of the cluster")
        .option("--host <address>", "address to listen on; default: both loopback addresses")
        .option("--port <number>", "port, 0 for a free one", "5050")
        .option("--open", "allow other hosts to connect, without accounts")
        .option("--accounts", "with accounts: makes the first one, an admin, where there is none yet")
        .option("--url <url>", "where clients reach it, behind a proxy or under a name: https://host[:port]")
        .addOption(
          new Option(
            "--trust-proxy <address>",
            "believe this proxy's X-Forwarded-For and -Proto; repeatable",
          ).argParser(collect),
        )
        .option("--log <file>", "write every decision about accounts to a file, - for stderr")
        .option("--gc-interval <duration>", "how often what nothing names is removed, 0 for never", "24h")
        .option("--scrub-interval <duration>", "how often all blobs are read and looked at, 0 for never", "30d")
        .option("--scrub-rate <size>", "bytes a second that this reads at most, 0 for no bound", "20M")
        .option("--no-delete", "delete nothing: no tag, no manifest, no blob")
        .option("--automatic-mount", "with accounts: look for blobs in all repositories that the caller may read")
        .option("--sparse", "take manifests whose content is not, or not all, in the repository"),
    registry: () => {
      const registry = program.command("registry").description("manage the embedded registry");
      verb(
        registry,
        "init",
        "make the first account of a registry, an admin",
        ["registry init", "registry init --data /srv/images --admin alice"],
        async () => (await import("./commands/registry-init.js")).init,
      )
        .option("--data <dir>", "the registry's folder; default: that of the cluster")
        .option("--admin <name>", "its name", "admin");
      addAccountVerbs(registry, verb);
      addUpkeepVerbs(registry, verb);
    },
    config: () => {
      const config = program.command("config").description("show and change the configuration");
      const configModule = () => import("./commands/config.js");
      verb(
        config,
        "show",
        "print the configuration in effect",
        ["config show", "config show --json"],
        async () => (await configModule()).show,
      );
      verb(
        config,
        "get <key>",
        "print one value",
        ["config get cluster", "config get clusters.main.registryUrl"],
        async () => (await configModule()).get,
      );
      verb(
        config,
        "set <key> <value>",
        "write one value to the configuration file",
        [
          "config set owner alice",
          "config set clusters.main.registryUrl https://registry.example.org",
          "config set cacheLimit 20G",
        ],
        async () => (await configModule()).set,
      );
      verb(
        config,
        "use <cluster>",
        "make a cluster the current one",
        ["config use main"],
        async () => (await configModule()).use,
      );
    },
    doctor: () =>
      verb(
        program,
        "doctor",
        "check engine, registry, credentials, clock and disk",
        ["doctor", "doctor --json"],
        async () => (await import("./commands/doctor.js")).doctor,
      ),
    completion: () =>
      verb(
        program,
        "completion <shell>",
        "print a completion script for bash, zsh, fish or powershell",
        ["completion bash > /etc/bash_completion.d/lading", "completion zsh > ~/.zfunc/_lading"],
        async () => (await import("./commands/completion.js")).completion,
      ),
  };
  const asked = only === undefined || !Object.hasOwn(verbs, only) ? undefined : verbs[only];
  for (const add of asked === undefined ? Object.values(verbs) : [asked]) add();
}
