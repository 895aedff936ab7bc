import { CommanderError } from "commander";
import { LadingError } from "../errors.js";
import type { CommandResult } from "./command.js";
import { CommandContext, type OpenClient } from "./command-context.js";
import { asLadingError, exitCode } from "./exit-code.js";
import { asksForJson, type GlobalFlags, progressMode, readFileSettings, timeLimit } from "./global-flags.js";
import type { Io } from "./io.js";
import { buildProgram, type Execute } from "./program.js";
import { Reporter } from "./progress/reporter.js";
import { safeJson } from "./safe-text.js";

export interface RunOptions {
  /** @default the SDK's own */
  readonly openClient?: OpenClient;
}

const openRealClient: OpenClient = async (options) => (await import("../client.js")).openClient(options);

/**
 * One run of the command line, without a process: everything it reads and writes is in `io`.
 * @param argv What follows the program's name.
 * @returns The exit code.
 */
export async function run(argv: readonly string[], io: Io, options: RunOptions = {}): Promise<number> {
  if (argv[0] === "complete" && argv[1] === "--") return await complete(argv.slice(2), io);
  let code = 0;
  const execute: Execute = async (flags, task) => {
    const json = flags.json === true;
    const file = await readFileSettings(flags, io.env);
    const reporter = await Reporter.open(io, {
      mode: progressMode(flags, io.env, file),
      quiet: flags.quiet === true,
      debug: flags.debug === true,
      json,
    });
    const limit = timeLimit(flags, io.env, file);
    const context = new CommandContext(io, flags, reporter, limit, options.openClient ?? openRealClient);
    code = await perform(context, task);
  };
  let help = "";
  const addHelp = (text: string) => {
    help += text;
  };
  const program = buildProgram(io, execute, addHelp, argv[0]);
  try {
    await program.parseAsync([...argv], { from: "user" });
    return code;
  } catch (error) {
    return await refuse(error, argv, io, help);
  }
}

/** What the completion scripts ask; no verb, so that any word may follow. */
async function complete(words: readonly string[], io: Io): Promise<number> {
  const { candidates } = await import("./completion.js");
  const program = buildProgram(io, async () => undefined);
  for (const { value, description } of candidates(program, words)) io.stdout.write(`${value}\t${description}\n`);
  return 0;
}

async function perform(
  context: CommandContext,
  task: (context: CommandContext) => Promise<CommandResult>,
): Promise<number> {
  const { io, flags, reporter } = context;
  try {
    let result: CommandResult;
    try {
      result = await task(context);
    } finally {
      await context.close();
      reporter.endProgress();
    }
    return conclude(result, io, flags, reporter);
  } catch (thrown) {
    const error = asLadingError(thrown);
    reporter.error(error);
    return exitCode(error);
  }
}

/** Prints a result: with `--json` all or nothing. */
function conclude(result: CommandResult, io: Io, flags: GlobalFlags, reporter: Reporter): number {
  const [first] = result.failures ?? [];
  if (result.raw !== undefined) {
    io.stdout.write(result.raw);
  } else if (flags.json !== true) {
    const lines = result.lines ?? [];
    if (lines.length > 0) io.stdout.write(`${lines.join("\n")}\n`);
  } else if (first === undefined && result.json !== undefined) {
    io.stdout.write(`${safeJson(result.json)}\n`);
  }
  if (first !== undefined) {
    // The last line is the one that decides.
    for (const failure of [...(result.failures ?? [])].slice(1)) reporter.error(failure);
    reporter.error(first, flags.json === true ? result.json : undefined);
    return exitCode(first);
  }
  if (result.verdict) {
    reporter.error(result.verdict);
    return exitCode(result.verdict);
  }
  return 0;
}

/**
 * Reports what ended a run before its flags were understood, or outside of it.
 * @param help Shown with the error, where a verb is missing.
 * @returns The exit code.
 */
export async function refuse(thrown: unknown, argv: readonly string[], io: Io, help = ""): Promise<number> {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
  const error = thrown instanceof CommanderError ? usageError(thrown, argv) : asLadingError(thrown);
  const { json, progressJson } = asksForJson(argv);
  if (!json && !progressJson && help !== "") io.stderr.write(`${help}\n`);
  const reporter = await Reporter.open(io, {
    mode: progressJson ? "json" : "none",
    quiet: false,
    debug: argv.includes("--debug"),
    json,
  });
  reporter.error(error);
  return exitCode(error);
}

const verbsHint = "`lading --help` lists the verbs";

function usageError(error: CommanderError, argv: readonly string[]): LadingError {
  if (error.code === "commander.help") {
    // `help nosuchverb` comes here too.
    const asked = argv[0] === "help" ? argv[1] : undefined;
    const message = asked === undefined ? "a verb is missing" : `there is no verb ${JSON.stringify(asked)}`;
    return new LadingError("usage", message, { hint: verbsHint });
  }
  const unknownVerb = error.code === "commander.unknownCommand";
  const [first = "", ...rest] = error.message.split("\n");
  const suggestion = rest
    .join(" ")
    .trim()
    .replace(/^\((.*)\)$/, "$1");
  return new LadingError("usage", first.replace(/^error: /, ""), {
    hint:
      suggestion !== ""
        ? suggestion
        : unknownVerb
          ? verbsHint
          : "`lading VERB --help` shows the flags and examples of a verb",
  });
}
