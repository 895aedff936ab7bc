import { version } from "../version.js";

const argv = process.argv.slice(2);
if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-V")) {
  // Nothing is loaded for this one, not even the parser of the command line.
  process.stdout.once("error", async (error) => {
    const { refuseOutput } = await import("./process.js");
    process.exitCode = await refuseOutput(error, argv);
  });
  process.stdout.write(`${version}\n`);
} else {
  void import("./process.js").then(({ main }) => main(argv));
}
