import module from "node:module";
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

function flush(stream: OutputStream): Promise<void> {
  const target = stream === process.stdout ? process.stdout : process.stderr;
  return new Promise((resolve) => {
    target.write("", () => resolve());
  });
}

async function start(argv: readonly string[]): Promise<number> {
  // Node 22 and later keep the compiled code of what is loaded from here on.
  (module as { enableCompileCache?: () => unknown }).enableCompileCache?.();
  const io: Io = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    interrupted: onSignals(),
    flush,
  };
  const { refuse, run } = await import("./run.js");
  // What nobody caught is a defect, and is reported as one, in the form that was asked for.
  process.on("uncaughtException", (error) => {
    void refuse(error, argv, io).then((failed) => process.exit(failed));
  });
  return await run(argv, io);
}

/** Runs the command line in this process, and ends it: the only place that knows of both. */
export async function main(argv: readonly string[]): Promise<never> {
  // A reader that has seen enough (`lading ls | head -1`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    process.stderr.write(`lading: error: stdout can't be written: ${error.message}\n`);
    process.exit(74);
  });
  // Nobody listens to what goes wrong beside the result: the result still counts.
  process.stderr.on("error", () => undefined);
  const code = await start(argv);
  await flush(process.stdout);
  await flush(process.stderr);
  process.exit(code);
}
