// The model of the registry for as many steps as wanted: random pushes, mounts, deletes, collections and crashes by a seed.
//   node scripts/registry-model.mjs --steps 1000000 --seed 7 --storage memory
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { root } from "./prepare.mjs";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    storage: { type: "string", default: "memory" },
  },
});
const [steps, seed] = [Number(values.steps), Number(values.seed)];
const folder = await mkdtemp(join(tmpdir(), "lading-model-program-"));
try {
  const outfile = join(folder, "model.mjs");
  const entry = join(root, "test", "model", "registry-model.ts");
  await build({ entryPoints: [entry], outfile, bundle: true, platform: "node", format: "esm", logLevel: "error" });
  const { runModel } = await import(pathToFileURL(outfile).href);
  const started = performance.now();
  let told = 0;
  const onProgress = (done) => {
    if (done - told < steps / 20) return;
    told = done;
    process.stderr.write(`${done} of ${steps} steps, ${Math.round((performance.now() - started) / 1000)} s\n`);
  };
  process.stdout.write(`seed ${seed}, ${steps} steps, ${values.storage}\n`);
  const report = await runModel({ seed, steps, storage: values.storage, onProgress });
  process.stdout.write(`${JSON.stringify({ ...report, seconds: Math.round((performance.now() - started) / 1000) })}\n`);
} catch (error) {
  process.stdout.write(`FAILED: ${error.stack}\n`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
