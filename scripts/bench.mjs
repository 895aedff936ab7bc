// `npm run bench`: times Lading beside its peers, in one run, and keeps what was seen.
//   npm run bench                        every row
//   npm run bench -- --row P3 --row P1   these
//   npm run bench -- --quick             small images, one run each: checks that the bench runs, asserts no time
//   npm run bench -- --list              the rows
// The bench itself is bench/main.ts. It shares the tests' engines, certificates and programs, and is bundled to run on any Node.
import { runBundled } from "./run-bundled.mjs";

await runBundled("bench/main.ts");
