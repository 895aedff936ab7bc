import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { whereFound } from "../faults/where-found.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { olderDocker } from "../support/engines.js";
import { output } from "../support/programs.js";
import { ContestedTags } from "./contested-tags.js";
import { Dice } from "./dice.js";
import { DockerView } from "./docker-view.js";
import { type FaultyFront, startFaultyFront } from "./faulty-front.js";
import { checkBlobs, checkDocker, checkLeftovers, checkSecrets, checkTags } from "./final-check.js";
import { RunJudge } from "./judge.js";
import { Ledger, memoryBound } from "./ledger.js";
import { OwnServer } from "./own-server.js";
import { RegistryView } from "./registry-view.js";
import { reportOf } from "./report.js";
import { SoakImages } from "./soak-image.js";
import { StoreView } from "./store-view.js";
import { contestedImage, registries, Worker } from "./worker.js";

/** Workers look again at everything that is theirs after this many operations. */
const recheckEvery = 50;
const minute = 60_000;

/**
 * The soak, with its command line.
 * @param root The checkout: built, with `dist/` in it.
 * @returns its exit code
 */
export async function main(argv: readonly string[], root: string): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      minutes: { type: "string", default: "60" },
      operations: { type: "string" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      workers: { type: "string", default: "3" },
      rate: { type: "string", default: "0.02" },
      kills: { type: "string", default: "0.15" },
      report: { type: "string" },
      log: { type: "string" },
      keep: { type: "boolean", default: false },
    },
  });
  const folder = await mkdtemp(join(tmpdir(), "lading-soak-"));
  const ledger = new Ledger(values.log ?? join(folder, "soak.log"));
  const command = `npm run test:soak -- ${argv.filter((argument) => !/^\/|^--(?:log|report)/.test(argument)).join(" ")}`;
  const soak = {
    ...{ root, folder, ledger, command, seed: values.seed },
    ...{ minutes: Number(values.minutes), operations: Number(values.operations ?? Infinity) },
    ...{ workers: Number(values.workers), rate: Number(values.rate), killRate: Number(values.kills) },
  };
  await ledger.say(`seed ${values.seed}; works in ${folder}`);
  try {
    const report = await run(soak);
    if (values.report !== undefined) await writeFile(values.report, report);
    process.stdout.write(`\n${report}`);
  } finally {
    if (!values.keep && failures(ledger) === 0) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  if (failures(ledger) === 0) return 0;
  await ledger.say(`FAILED, ${failures(ledger)} violations. Again: ${command} --seed ${values.seed}`);
  return 1;
}

function failures({ violations, breaks }: Ledger): number {
  return violations.length + breaks.length;
}

interface Soak {
  readonly root: string;
  readonly folder: string;
  readonly ledger: Ledger;
  readonly command: string;
  readonly seed: string;
  readonly minutes: number;
  readonly operations: number;
  readonly workers: number;
  readonly rate: number;
  readonly killRate: number;
}

async function run(soak: Soak): Promise<string> {
  const { root, folder, ledger, seed } = soak;
  const program = join(root, "dist", "bin", "lading.js");
  const started = new Date();
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const password = `canary-${new Dice(`${seed}/password`).integer(1e8, 1e9)}`;
    const htpasswd = join(folder, "htpasswd");
    await writeFile(htpasswd, `${await output("htpasswd", ["-nbB", "tester", password])}\n`);
    const registryProgram = await findDockerRegistry();
    if (registryProgram === null) throw new Error("docker-registry is not on this machine");
    const other = await startDockerRegistry(registryProgram, { auth: { htpasswd: { realm: "soak", path: htpasswd } } });
    stops.push(() => other.close());
    const docker = await olderDocker.start();
    stops.push(() => docker.stop());

    const home = join(folder, "home");
    const [store, ownData, dockerConfig] = [
      join(folder, "store"),
      join(folder, "registry"),
      join(folder, "docker-config"),
    ];
    await mkdir(home);
    await mkdir(dockerConfig);
    const env: Record<string, string> = {
      ...{
        HOME: home,
        PATH: process.env.PATH ?? "",
        DOCKER_CONFIG: dockerConfig,
        DOCKER_HOST: `unix://${docker.socketPath}`,
      },
      ...{ LADING_STORE: store, LADING_CONFIG: join(folder, "config.toml"), LADING_OWNER: "tester", TMPDIR: folder },
    };
    const own = new OwnServer({ program, env, data: ownData, onPeak: (bytes) => ledger.peak("lading serve", bytes) });
    // Before the first client there is no configuration; a server needs none.
    await writeFile(join(folder, "config.toml"), "");
    await own.start();
    stops.push(() => own.stop());

    const workers: Worker[] = [];
    const fronts: FaultyFront[] = [];
    const ports = { own: own.port, other: other.port };
    const lines = ['cluster = "own0"', 'cacheLimit = "200M"'];
    const auths: Record<string, { auth: string }> = {};
    const frontsOf = async (number: number) => {
      const made = {} as Record<(typeof registries)[number], FaultyFront>;
      for (const name of registries) {
        const front = await startFaultyFront({
          port: ports[name],
          dice: new Dice(`${seed}/front/${name}/${number}`),
          rate: soak.rate,
          onFault: (kind) => {
            ledger.fault(kind);
            workers[number]?.struck.push(kind);
          },
          onExpired: (text) => void ledger.broke(`the front of ${name} ${text}`),
        });
        made[name] = front;
        fronts.push(front);
        stops.push(() => front.close());
        lines.push(`[clusters.${name}${number}]`, `registryUrl = "http://127.0.0.1:${front.port}"`);
        if (name === "other")
          auths[`127.0.0.1:${front.port}`] = { auth: Buffer.from(`tester:${password}`).toString("base64") };
      }
      return made;
    };
    const authorization = `Basic ${Buffer.from(`tester:${password}`).toString("base64")}`;
    const places = {
      own: new RegistryView({ name: "own", url: () => `http://127.0.0.1:${own.port}` }),
      other: new RegistryView({ name: "other", url: () => other.url, authorization }),
      docker: new DockerView(docker.socketPath),
      store: new StoreView(store),
    };
    // What its base64 with the user's name before it looks like, too.
    const secrets = [password, Buffer.from(`tester:${password}`).toString("base64")];
    const judge = new RunJudge(ledger, root, secrets);
    const contested = new ContestedTags(contestedImage, places, ledger);
    const images = new SoakImages(join(folder, "archives"), seed, new Dice(`${seed}/images`));
    let crashes = 0;
    for (let number = 0; number < soak.workers; number += 1) {
      const options = {
        number,
        folder,
        program,
        env,
        images,
        ledger,
        judge,
        contested,
        places,
        killRate: soak.killRate,
      };
      const dice = new Dice(`${seed}/worker/${number}`);
      workers.push(new Worker({ ...options, dice, fronts: await frontsOf(number), crashes: () => crashes }));
    }
    await writeFile(join(folder, "config.toml"), `${lines.join("\n")}\n`);
    await writeFile(join(dockerConfig, "config.json"), JSON.stringify({ auths }), { mode: 0o600 });

    const end = Date.now() + soak.minutes * minute;
    let stopped = false;
    const stop = (signal: string) => {
      stopped = true;
      void ledger.say(`${signal}: what runs comes to its end, then the last checks and the report`);
    };
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
    const over = () => stopped || Date.now() > end || ledger.operations >= soak.operations;
    const check = {
      ...{ ledger, folder, store, ownData, otherData: other.data, storeView: places.store, dockerView: places.docker },
      ...{ secrets, folders: [home, store, ownData, other.data, ...workers.map(({ coldStore }) => coldStore)] },
      coldStores: workers.map(({ coldStore }) => coldStore),
      registries: [
        { view: places.own, host: `127.0.0.1:${own.port}`, credential: null },
        { view: places.other, host: `127.0.0.1:${other.port}`, credential: `tester:${password}` },
      ],
    };
    // A worker that breaks off is in the report, and ends nobody else's work.
    const working = workers.map(async (worker, number) => {
      for (let count = 1; !over(); count += 1) {
        if (!(await ledger.part(`a step of worker ${number}`, 15 * minute, worker.step()))) return;
        if (count % recheckEvery === 0) await ledger.part(`worker ${number}'s look`, 5 * minute, worker.recheck());
      }
      await ledger.part(`worker ${number}'s look`, 5 * minute, worker.recheck());
    });
    const crashing = (async () => {
      const dice = new Dice(`${seed}/crashes`);
      for (;;) {
        const until = Date.now() + dice.integer(30_000, 90_000);
        while (Date.now() < until && !over()) await sleep(100);
        if (over()) return;
        crashes += 1;
        ledger.kills.serve += 1;
        await ledger.part("killing lading serve", 3 * minute, own.crash());
      }
    })();
    const telling = (async () => {
      for (let passed = 1; ; passed += 1) {
        const until = started.getTime() + passed * minute;
        while (Date.now() < until && !over()) await sleep(200);
        if (over()) return;
        const faults = [...ledger.faults.values()].reduce((sum, count) => sum + count, 0);
        await ledger.say(
          `minute ${passed}: ${ledger.operations} operations, ${faults} faults, ${ledger.kills.SIGKILL + ledger.kills.SIGINT} killed, serve killed ${crashes} times, ${ledger.violations.length} violations`,
        );
        if (passed % 10 === 0) await ledger.part("the check of blobs", 10 * minute, checkBlobs(check));
      }
    })();
    await Promise.all([...working, crashing, telling]);
    const ended = new Date();

    for (const front of fronts) {
      ledger.requests += front.requests;
      ledger.retries += front.retries;
    }
    // Once more from the files alone: what was acknowledged is there after the last crash too.
    await ledger.part("killing lading serve", 3 * minute, own.crash());
    for (const worker of workers) await ledger.part("the last look", 5 * minute, worker.recheck());
    await ledger.part("the check of tags", 15 * minute, checkTags(check));
    await ledger.part("the check of Docker", 15 * minute, checkDocker(check, docker.socketPath));
    await ledger.part("the check of blobs", 10 * minute, checkBlobs(check));
    await ledger.part("the check of leftovers", 5 * minute, checkLeftovers(check, ledger.kills.SIGKILL));
    await ledger.part("the check for secrets", 10 * minute, checkSecrets(check));
    const ending = own
      .stop()
      .then((exit) =>
        ledger.check("N7", exit === 0 ? null : `lading serve ended with ${exit} on SIGTERM: ${own.stderr}`),
      );
    await ledger.part("the end of lading serve", 3 * minute, ending);
    const leaks = await whereFound(secrets, [own.stderr], []);
    await ledger.check("N6", leaks.length === 0 ? null : "a secret is in serve's output");
    const heavy = (ledger.peaks.get("lading serve") ?? 0) > memoryBound;
    await ledger.check("N8", heavy ? "lading serve had more than 256 MiB" : null);
    return reportOf({ ...soak, started, ended });
  } finally {
    for (const [index, stop] of stops.reverse().entries())
      await ledger.part(`stopping, ${index + 1} of ${stops.length}`, minute, stop());
  }
}
