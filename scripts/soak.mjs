// `npm run test:soak`: pushes, pulls, removes and kills between Docker, the store and two registries, with faults on the way,
// and holds everything that it sees to the promises N1-N9.
//   npm run test:soak                                  an hour
//   npm run test:soak -- --minutes 3 --seed 7          shorter; the same seed makes the same choices
//   npm run test:soak -- --operations 60 --seed 7      until so many operations are done
// The soak itself is test/soak/main.ts. It shares the tests' engines and registries, and is bundled to run on any Node.
import { runBundled } from "./run-bundled.mjs";

await runBundled("test/soak/main.ts");
// Whatever is still open: the report is written.
process.exit();
