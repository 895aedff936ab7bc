import module from "node:module";
import { LadingError } from "../errors.js";
import { Interruption, type Io, type OutputStream } from "./io.js";

/** Ctrl-C and its relatives: the first one asks, the second one ends. */
function onSignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(signal === "SIGINT" ? 130 : 143);
      controller.abort(new Interruption(signal));
    });
  }
  return controller.signal;
}

/** Nothing is written where nothing waits: even an empty write fails where stdout is full. */
function flush(stream: OutputStream): Promise<void> {
  const target = stream === process.stdout ? process.stdout : process.stderr;
  return new Promise((resolve) => {
    if (target.writableLength === 0 || target.errored !== null) resolve();
    else target.write("", () => resolve());
  });
}

function processIo(interrupted: AbortSignal): Io {
  const { stdout, stderr, env } = process;
  return {
    // Node makes the stream when it is first asked for it, and that takes 2 ms.
    get stdin() {
      return process.stdin;
    },
    stdout,
    stderr,
    env,
    interrupted,
    flush,
  };
}

/**
 * What a run ends with whose result can't be written. A reader that has seen enough (`lading ls | head -1`) is no failure.
 * @returns The exit code.
 */
export async function refuseOutput(cause: NodeJS.ErrnoException, argv: readonly string[]): Promise<number> {
  if (cause.code === "EPIPE") return 0;
  const { refuse } = await import("./run.js");
  const error = new LadingError("io", `stdout can't be written: ${cause.message}`, {
    hint: "look at where the output goes: the disk may be full; what the command did stands",
    cause,
  });
  return await refuse(error, argv, processIo(new AbortController().signal));
}

async function start(argv: readonly string[]): Promise<number> {
  // Node 22 and later keep the compiled code of what is loaded from here on.
  (module as { enableCompileCache?: () => unknown }).enableCompileCache?.();
  const io = processIo(onSignals());
  const { refuse, run } = await import("./run.js");
  // What nobody caught is a defect, and is reported as one, in the form that was asked for.
  process.on("uncaughtException", (error) => {
    void refuse(error, argv, io).then((failed) => process.exit(failed));
  });
  const code = await run(argv, io);
  await flush(process.stdout);
  return code;
}

/** Runs the command line in this process, and ends it: the only place that knows of both. */
export async function main(argv: readonly string[]): Promise<never> {
  // Nobody listens to what goes wrong beside the result: the result still counts.
  process.stderr.on("error", () => undefined);
  const outputFailed = new Promise<number>((resolve) => {
    process.stdout.once("error", (error) => resolve(refuseOutput(error, argv)));
  });
  process.stdout.on("error", () => undefined);
  const ended = start(argv);
  const first = await Promise.race([ended, outputFailed]);
  // The event follows the failed write, maybe only after the run has ended.
  const code = process.stdout.errored === null ? first : await outputFailed;
  await flush(process.stderr);
  process.exit(code);
}
