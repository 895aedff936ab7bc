// `npm run quickstart`: the main job, on this machine, in about a minute. Installs and builds, makes a real image of the Node
// that runs this, starts the embedded registry, pushes, lists, pulls back, and checks that what came back is what went out.
// Everything it makes is in a temporary folder or under a name of its own in the engine, and is removed again, also on failure.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

const lading = join(root, "dist", "bin", "lading.js");
const say = (text) => process.stdout.write(`${text}\n`);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Runs one command of the CLI; resolves with its stdout, throws with its stderr where it fails, once it has ended. */
function run(env, args, signal) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [lading, ...args], { env, stdio: ["ignore", "pipe", "pipe"], signal });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.on("error", () => {}); // It was aborted: the clean-up waits for its end.
    child.on("close", (status) => {
      if (status === 0) resolve(stdout.trimEnd());
      else
        reject(signal?.reason ?? new Error(`\`lading ${args.join(" ")}\` ended with ${status}\n${stderr.trimEnd()}`));
    });
  });
}

/** Starts `lading serve`; resolves once it has printed its URL. */
function serve(env, folder) {
  const child = spawn(process.execPath, [lading, "serve", "--data", folder, "--port", "0"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const ended = new Promise((resolve) => child.on("close", resolve));
  const url = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => reject(new Error(`\`lading serve\` ended with ${status}\n${stderr}`)));
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      if (stdout.includes("\n")) resolve(stdout.slice(0, stdout.indexOf("\n")).trim());
    });
  });
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  return { url, stop };
}

function check(condition, what) {
  if (!condition) throw new Error(`the check failed: ${what}`);
}

async function quickstart(folder, cleanups, signal) {
  // Not before: it needs a package that a clean clone has only now.
  const { readArchiveLayers, writeNodeImage } = await import("./quickstart-image.mjs");
  const started = performance.now();
  // Configuration, store and registry are in the temporary folder. The home stays: an engine may have its socket there.
  const foreign = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("LADING_") || name === "LADING_ENGINE",
  );
  const env = {
    ...Object.fromEntries(foreign),
    LADING_CONFIG: join(folder, "config.toml"),
    LADING_STORE: join(folder, "store"),
  };
  /** Shows a command with what it printed. */
  const show = async (...args) => {
    const output = await run(env, args, signal);
    say(`  $ lading ${args.map((arg) => (arg.startsWith(folder) ? arg.slice(folder.length + 1) : arg)).join(" ")}`);
    for (const line of output.split("\n").filter(Boolean)) say(`    ${line}`);
    return output;
  };

  const name = `lading-quickstart-${folder.slice(-6).toLowerCase()}`;
  const local = `${name}:1`;
  const archive = join(folder, "node.tar");
  const made = await writeNodeImage(archive, local);
  say(
    `Made an image of this machine's Node ${process.version}: ${made.layers.length} layers, ${megabytes(made.size)}.`,
  );

  const registry = serve(env, join(folder, "registry"));
  cleanups.push(registry.stop);
  const url = await registry.url;
  const config = ['cluster = "local"', 'owner = "newcomer"', "[clusters.local]", `registryUrl = "${url}"`, ""];
  await writeFile(env.LADING_CONFIG, config.join("\n"));
  say(`Started the embedded registry at ${url}.`);

  const { engine } = JSON.parse(await run(env, ["images", "--json"], signal));
  const place = engine === "store" ? "Lading's own store, which needs no engine" : engine;
  say(`Local images are in ${place}.`);
  const imageId = async () => {
    const { images } = JSON.parse(await run(env, ["images", "--json"]));
    return images.find((image) => image.local === local)?.id ?? null;
  };

  cleanups.push(async () => {
    if ((await imageId()) !== null) await run(env, ["rmi", local]);
  });
  say("");
  await show("load", archive);
  const before = await imageId();
  const reference = await show("push", local);
  const remote = `image:${name}:1`;
  const listed = await show("ls");
  const tags = await show("tags", `image:${name}`);
  const size = await show("size", remote);
  const digest = await show("digest", remote);
  await show("rmi", local);
  check((await imageId()) === null, "the image is gone from the engine before it is pulled back");
  await show("pull", remote, local);
  const after = await imageId();
  const back = join(folder, "back.tar");
  await run(env, ["save", local, "-o", back], signal);
  const layers = await readArchiveLayers(back);
  say("");

  check(listed.split("\n").includes(`image://local/newcomer/${name}`), "the registry lists the image");
  check(tags === "1", "the registry has its tag");
  check(Number.isInteger(Number(size)) && Number(size) > 0, "the size is a number of bytes");
  check(reference.endsWith(`@${digest}`), "the digest is the one that the push printed");
  check(before !== null && after === before, `the image has the ID that it had (${before}, then ${after})`);
  check(JSON.stringify(layers) === JSON.stringify(made.layers), "every layer came back byte for byte");

  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(`What went out came back: the same image ID and the same bytes in ${layers.length} layers.`);
  say(
    `${megabytes(made.size)} of layers, ${megabytes(Number(size))} in the registry, ${seconds} s. Nothing is left behind.`,
  );
}

async function main() {
  prepare();
  const folder = await mkdtemp(join(tmpdir(), "lading-quickstart-"));
  const cleanups = [() => rm(folder, { recursive: true, force: true })];
  const interrupt = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      process.exitCode = signal === "SIGINT" ? 130 : 143;
      interrupt.abort(new Error(`stopped by ${signal}`));
    });
  }
  const report = (error) => {
    process.exitCode ??= 1;
    process.stderr.write(`\nThe quickstart failed: ${error.message}\n`);
  };
  await quickstart(folder, cleanups, interrupt.signal).catch(report);
  for (const cleanup of cleanups.reverse()) await cleanup().catch(report);
  process.exit();
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
