import { LadingError } from "../errors.js";
import { Interruption, type Io } from "./io.js";
import { ProcessOutput } from "./process-output.js";

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

function processIo(stdout: ProcessOutput, stderr: ProcessOutput, interrupted: AbortSignal): Io {
  return {
    // Node makes the stream when it is first asked for it, and that takes 2 ms.
    get stdin() {
      return process.stdin;
    },
    stdout,
    stderr,
    env: process.env,
    interrupted,
    flush: (stream) => (stream === stdout ? stdout : stderr).flush(),
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
  const io = processIo(new ProcessOutput("stdout"), new ProcessOutput("stderr"), new AbortController().signal);
  return await refuse(error, argv, io);
}

async function start(argv: readonly string[], io: Io): Promise<number> {
  const { refuse, run } = await import("./run.js");
  // What nobody caught is a defect, and is reported as one, in the form that was asked for.
  process.on("uncaughtException", (error) => {
    void refuse(error, argv, io).then((failed) => process.exit(failed));
  });
  const code = await run(argv, io);
  await io.flush(io.stdout);
  return code;
}

/** Runs the command line in this process, and ends it: the only place that knows of both. */
export async function main(argv: readonly string[]): Promise<never> {
  let refuseWith: (code: Promise<number>) => void = () => undefined;
  const outputFailed = new Promise<number>((resolve) => {
    refuseWith = resolve;
  });
  const stdout = new ProcessOutput("stdout", (error) => refuseWith(refuseOutput(error, argv)));
  // Nobody listens to what goes wrong beside the result: the result still counts.
  const stderr = new ProcessOutput("stderr");
  const ended = start(argv, processIo(stdout, stderr, onSignals()));
  const first = await Promise.race([ended, outputFailed]);
  // The event follows the failed write, maybe only after the run has ended.
  const code = stdout.failed ? await outputFailed : first;
  await stderr.flush();
  process.exit(code);
}
