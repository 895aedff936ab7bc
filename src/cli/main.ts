import { version } from "../version.js";
import { ProcessOutput } from "./process-output.js";

const argv = process.argv.slice(2);
if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-V")) {
  // Nothing is loaded for this one, not even the parser of the command line.
  const stdout = new ProcessOutput("stdout", (error) => {
    void import("./process.js").then(async ({ refuseOutput }) => {
      process.exitCode = await refuseOutput(error, argv);
    });
  });
  stdout.write(`${version}\n`);
} else {
  void import("./process.js").then(({ main }) => main(argv));
}
