// `npm run test:long`: what takes longer than a suite may. Kills the client at random moments of pushes and pulls and lets it
// finish; moves a large image and watches the memory. By hand with the defaults, in CI with small numbers and the same bounds:
//   node scripts/test-long.mjs --kills 20 --gigabytes 1 --rounds 2 --fuzz 1000 --model-steps 20000 --seed 7
// With `--fuzz 1000` each property of the suite `fuzz` is held against so many inputs, and not 100 000; with 0 against none.
// `--rounds` is how often the faults of `test/faults/` that have random moments are tried at them (F18; B1's saves are killed
// twenty times as often); a registry is killed `--kills` times there. `--model-steps` is how long the model of the registry runs (`registry-model.mjs`), whose 20,000 are in the suite `unit`.
// With `--docker` the large image is built into the engine of DOCKER_HOST and moves from there and back.
import { spawn } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { prepare, root } from "./prepare.mjs";

/** Peak memory of a transfer, whatever the image's size: the project's bound. */
const memoryBound = 256 * 1024 * 1024;
const lading = join(root, "dist", "bin", "lading.js");
const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "200" },
    gigabytes: { type: "string", default: "10" },
    rounds: { type: "string", default: "50" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
    docker: { type: "boolean", default: false },
    fuzz: { type: "string", default: "100000" },
    "model-steps": { type: "string", default: "1000000" },
  },
});
const [kills, gigabytes, seed] = [Number(values.kills), Number(values.gigabytes), values.seed];
const rounds = Number(values.rounds);
const say = (text) => process.stdout.write(`${text}\n`);

/** Random bytes that a seed decides. */
function* randomStream(name, bytes) {
  const key = createHash("sha256").update(`${seed}/${name}`).digest();
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  const zeros = Buffer.alloc(1024 * 1024);
  for (let left = bytes; left > 0; left -= zeros.length)
    yield cipher.update(zeros.subarray(0, Math.min(left, zeros.length)));
}

/** A number in [0, 1) that seed and name decide. */
const chance = (name) => createHash("sha256").update(`${seed}/${name}`).digest().readUInt32BE() / 2 ** 32;

async function makeArchive(folder, local, layers, layerBytes) {
  const contents = [];
  for (let index = 0; index < layers; index += 1) {
    const file = join(folder, `random-${index}`);
    await pipeline(randomStream(`${local}/${index}`, layerBytes), createWriteStream(file));
    contents.push([{ path: `data/${index}.bin`, source: file }]);
  }
  const archive = join(folder, "image.tar");
  await writeImage(archive, local, contents);
  for (const [{ source }] of contents) await rm(source);
  return archive;
}

/** Runs the CLI; resolves with its end, its output and the most memory that it had. `killAfter` in ms ends it with SIGKILL. */
async function run(env, args, { killAfter } = {}) {
  const started = performance.now();
  const child = spawn(process.execPath, [lading, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr, peak] = ["", "", 0];
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const watch = setInterval(async () => {
    peak = Math.max(peak, await peakOf(child.pid));
  }, 100);
  const timer = killAfter === undefined ? null : setTimeout(() => child.kill("SIGKILL"), killAfter);
  const [status, signal] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  clearInterval(watch);
  if (timer !== null) clearTimeout(timer);
  const killed = signal === "SIGKILL";
  if (status !== 0 && !killed) throw new Error(`lading ${args.join(" ")} ended with ${status}\n${stderr}`);
  return { killed, stdout: stdout.trimEnd(), peak, ms: performance.now() - started };
}

/** The most memory that a running process has had, in bytes. */
async function peakOf(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** A registry of its own for the length of a call, which is given the registry's process too. */
async function withRegistry(folder, use) {
  const env = { ...process.env, LADING_STORE: join(folder, "store"), LADING_CONFIG: join(folder, "config.toml") };
  env.LADING_ENGINE = "store";
  const data = await mkdtemp(join(folder, "registry-"));
  const child = spawn(process.execPath, [lading, "serve", "--data", data, "--port", "0"], {
    env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise((resolve) => child.on("close", resolve));
  try {
    const url = await new Promise((resolve, reject) => {
      child.stdout.setEncoding("utf8").once("data", (text) => resolve(text.trim()));
      child.on("close", (status) => reject(new Error(`lading serve ended with ${status}`)));
    });
    const config = ['cluster = "long"', 'owner = "tester"', "[clusters.long]", `registryUrl = "${url}"`, ""];
    await writeFile(env.LADING_CONFIG, config.join("\n"));
    return await use(env, child.pid);
  } finally {
    child.kill("SIGTERM");
    await ended;
    await rm(data, { recursive: true, force: true });
  }
}

function check(condition, what) {
  if (!condition) throw new Error(`the check failed: ${what}`);
}

const digestIn = (reference) => reference.slice(reference.indexOf("@") + 1);

/** Kills a push and a pull at random moments: run again, each ends with the right digest. */
async function killing(folder) {
  const archive = await makeArchive(folder, "killed:1", 6, 12_000_000);
  let cut = 0;
  const timing = await withRegistry(folder, async (env) => {
    await run(env, ["load", archive]);
    const push = await run(env, ["push", "killed:1"]);
    const pull = await run({ ...env, LADING_STORE: join(folder, "first") }, ["pull", "image:killed:1"]);
    return { digest: digestIn(push.stdout), push: push.ms, pull: pull.ms };
  });
  for (let round = 0; round < kills; round += 1) {
    await withRegistry(folder, async (env) => {
      const push = await run(env, ["push", "killed:1"], { killAfter: chance(`push ${round}`) * timing.push });
      const tags = push.killed ? await run(env, ["ls"]) : null;
      if (tags?.stdout.includes("killed")) {
        const seen = await run(env, ["digest", "image:killed:1"]).catch(() => null);
        check(seen === null || seen.stdout === timing.digest, `round ${round}: what is visible after a kill is whole`);
      }
      const again = await run(env, ["push", "killed:1"]);
      check(digestIn(again.stdout) === timing.digest, `round ${round}: the push ends with the right digest`);

      const other = { ...env, LADING_STORE: join(folder, `other-${round}`) };
      const pull = await run(other, ["pull", "image:killed:1"], { killAfter: chance(`pull ${round}`) * timing.pull });
      await run(other, ["pull", "image:killed:1"]);
      const { images } = JSON.parse((await run(other, ["images", "--json"])).stdout);
      check(
        images.some(({ id }) => id === timing.digest),
        `round ${round}: the pull ends with the right image`,
      );
      cut += Number(push.killed) + Number(pull.killed);
      await rm(other.LADING_STORE, { recursive: true, force: true });
    });
  }
  say(
    `kills: ${kills} rounds, ${cut} of ${2 * kills} transfers were cut, all ended with ${timing.digest.slice(0, 19)}`,
  );
}

/** Runs `docker` against the engine of DOCKER_HOST; resolves with what it printed. */
async function docker(...args) {
  const child = spawn("docker", args, { stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  const [status] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  if (status !== 0) throw new Error(`docker ${args.join(" ")} ended with ${status}`);
  return stdout.trim();
}

function within(verb, { peak, ms }) {
  const time = ms === undefined ? "" : `${(ms / 1000).toFixed(1)} s, `;
  say(`${verb} of ${gigabytes} GB: ${time}peak ${Math.round(peak / 1048576)} MiB`);
  check(peak <= memoryBound, `${verb} needs at most ${memoryBound / 1048576} MiB`);
}

/** Moves a large image out of Lading's store and back, within the bound of memory. */
async function large(folder) {
  const archive = await makeArchive(folder, "large:1", 4, Math.ceil((gigabytes * 1e9) / 4));
  await withRegistry(folder, async (env, server) => {
    within("load", await run(env, ["load", archive]));
    await rm(archive);
    const push = await run(env, ["push", "large:1"]);
    within("push", push);
    const other = { ...env, LADING_STORE: join(folder, "other") };
    within("pull", await run(other, ["pull", "image:large:1"]));
    within("serve", { peak: await peakOf(server) });
    const { images } = JSON.parse((await run(other, ["images", "--json"])).stdout);
    check(
      images.some(({ id }) => id === digestIn(push.stdout)),
      "the large image came back with its digest",
    );
  });
}

/** The same with an image that Docker built: pushed, removed from Docker, pulled back with the same ID. */
async function largeFromDocker(folder) {
  const context = join(folder, "context");
  await mkdir(context);
  const lines = ["FROM scratch"];
  for (let index = 0; index < 4; index += 1) {
    const bytes = Math.ceil((gigabytes * 1e9) / 4);
    await pipeline(randomStream(`docker/${index}`, bytes), createWriteStream(join(context, `${index}.bin`)));
    lines.push(`ADD ${index}.bin /data/${index}.bin`);
  }
  await writeFile(join(context, "Dockerfile"), `${lines.join("\n")}\n`);
  process.env.DOCKER_BUILDKIT = "0";
  await docker("build", "-q", "-t", "large:1", context);
  await rm(context, { recursive: true });
  const id = () => docker("image", "inspect", "-f", "{{.Id}}", "large:1");
  const before = await id();
  await withRegistry(folder, async (own, server) => {
    const env = { ...own, LADING_ENGINE: "docker", DOCKER_HOST: process.env.DOCKER_HOST };
    within("push out of Docker", await run(env, ["push", "large:1"]));
    await docker("rmi", "-f", "large:1");
    // Not what the push left, but what the registry has.
    await rm(env.LADING_STORE, { recursive: true });
    within("pull into Docker", await run(env, ["pull", "image:large:1"]));
    within("serve", { peak: await peakOf(server) });
    check((await id()) === before, "Docker has the image under the ID that it had before");
    await docker("rmi", "-f", "large:1");
  });
}

/** Holds the properties of the suite `fuzz` against many inputs. */
async function fuzzing() {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const env = { ...process.env, LADING_FUZZ_RUNS: values.fuzz, LADING_FUZZ_SEED: seed };
  const child = spawn(process.execPath, [vitest, "run", "--project", "fuzz", "--no-file-parallelism"], {
    cwd: root,
    env,
    stdio: "inherit",
  });
  const [status] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  check(status === 0, "the properties of the suite fuzz hold");
  say(`fuzz: each property held for ${values.fuzz} inputs`);
}

/** The faults that have random moments, at those: a seed that fails is named there, with the command that repeats it. */
async function randomFaults() {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const child = spawn(
    process.execPath,
    [vitest, "run", "--project", "faults", "--project", "threats", "-t", " random "],
    {
      cwd: root,
      env: {
        ...process.env,
        LADING_FAULT_ROUNDS: String(rounds),
        LADING_FAULT_SEED: seed,
        LADING_KILL_ROUNDS: String(Math.max(1, kills)),
      },
      stdio: "inherit",
    },
  );
  const [status] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  check(status === 0, `${rounds} random rounds of the faults`);
}

/** The registry's model: whatever was answered with 201 and not deleted is there, in every order and after every crash. */
async function model() {
  const args = [join(root, "scripts", "registry-model.mjs"), "--steps", values["model-steps"], "--seed", seed];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  const [status] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  check(status === 0, `${values["model-steps"]} steps of the registry's model`);
}

prepare();
const { writeImage } = await import("./quickstart-image.mjs");
say(`seed ${seed}`);
const tests = [
  [kills, killing],
  [gigabytes, values.docker ? largeFromDocker : large],
  [Number(values["model-steps"]), model],
  [Number(values.fuzz), fuzzing],
  [rounds, randomFaults],
];
for (const [size, test] of tests) {
  if (size === 0) continue;
  const folder = await mkdtemp(join(tmpdir(), "lading-long-"));
  try {
    await test(folder);
  } catch (error) {
    process.exitCode = 1;
    say(`FAILED (seed ${seed}): ${error.message}`);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
