import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parse } from "smol-toml";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { failureOf } from "../cli/failure.js";
import { Machine, program } from "../cli/machine.js";
import { faultyLading } from "../faults/faulty-process.js";
import { randomRounds, seeded } from "../faults/seeded.js";
import { makeCertificates } from "../support/certificates.js";
import { startForwardProxy } from "../support/forward-proxy.js";
import { runProgram } from "../support/programs.js";
import { bundleStoreWorker, startStoreProcess } from "../support/store-process.js";
import { startTlsFront } from "../support/tls-front.js";
import { basic, secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const auth = Buffer.from(`${secrets.username}:${secrets.password}`).toString("base64");
const hosts = ["example.com", "example.com.test2", "badexample.com", "registry-1.docker.io"];

let folder = "";
let serverFolder = "";
let machine: Machine;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-threats-"));
  ({ serverFolder } = await makeCertificates(folder, hosts));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  machine = await Machine.create();
});
afterEach(async () => {
  await machine.remove();
});

const dockerConfig = () => join(machine.home, ".docker", "config.json");
const ladingConfig = () => join(machine.home, ".config", "lading", "config.toml");

async function writeDockerConfig(value: unknown, mode = 0o600): Promise<void> {
  await mkdir(join(machine.home, ".docker"), { recursive: true });
  await writeFile(dockerConfig(), typeof value === "string" ? value : JSON.stringify(value), { mode });
  await chmod(dockerConfig(), mode);
}

threat("A30", "credentials are those of exactly the host and port, and go nowhere else", async () => {
  const registry = await stage.registry((exchange) => {
    if (exchange.headers.authorization === basic) return false;
    exchange.send(401, { "www-authenticate": 'Basic realm="here"' });
    return true;
  });
  const front = stage.keep(await startTlsFront(serverFolder, Number(new URL(registry.url).port)));
  const routes = [...hosts.map((host) => `${host}:443`), "example.com:444"];
  const proxy = stage.keep(await startForwardProxy(Object.fromEntries(routes.map((route) => [route, front.port]))));
  const ca = join(serverFolder, "ca.pem");
  const digest = (host: string) =>
    machine.lading(["digest", `${host}/a/b:v1`, "--json", "--ca-file", ca], {
      env: { HTTPS_PROXY: `http://${proxy.host}` },
    });
  const sent = () => registry.requests.filter(({ headers }) => headers.authorization !== undefined).length;
  const dialled = () => proxy.asked.map(({ line }) => line).filter((line) => line.includes("docker.io"));

  await writeDockerConfig({ auths: { "example.com": { auth }, "example.com/other": { auth } } });
  for (const host of ["example.com.test2", "badexample.com", "example.com:444", "registry-1.docker.io"]) {
    expect(failureOf(await digest(host)), host).toMatchObject({ code: "unauthorized" });
  }
  expect(sent()).toBe(0);
  // A helper that is missing is an error, not a reason to look elsewhere.
  await writeDockerConfig({
    auths: { "example.com": { auth }, "https://index.docker.io/v1/": { auth } },
    credHelpers: { "example.com": "missing" },
  });
  const hub = dialled().length;
  expect(failureOf(await digest("example.com"))).toMatchObject({ code: "config-invalid" });
  expect(sent()).toBe(0);
  expect(dialled()).toHaveLength(hub);
  // They do go where they belong.
  await writeDockerConfig({ auths: { "example.com": { auth } } });
  expect(failureOf(await digest("example.com"))).toMatchObject({ code: "not-found" });
  expect(sent()).toBeGreaterThan(0);
});

/** With every permission that a umask may leave. */
function openHanded(args: readonly string[], input = "") {
  const command = 'umask 000; exec "$@"';
  return runProgram("/bin/sh", ["-c", command, "sh", process.execPath, program, ...args], {
    env: machine.env,
    cwd: machine.home,
    input,
  });
}

const logIn = ["login", "-u", secrets.username, "--password-stdin"];

threat("B1", "what is written is its owner's alone, whatever the umask", async () => {
  const registry = await stage.registry();
  const login = await openHanded([...logIn, registry.host], secrets.password);
  expect(login).toMatchObject({ status: 0 });
  expect(await openHanded(["config", "set", "owner", "alice"])).toMatchObject({ status: 0 });
  await machine.putImage("app:1");
  expect(await openHanded(["push", "app:1"])).toMatchObject({ status: 0 });
  expect(await openHanded(["pull", "image:app:1", "back:1", "--store", join(machine.home, "new")])).toMatchObject({
    status: 0,
  });
  for (const path of [dockerConfig(), ladingConfig()]) {
    expect((await stat(path)).mode & 0o777, path).toBe(0o600);
    expect((await stat(join(path, ".."))).mode & 0o777, path).toBe(0o700);
  }
  // Nobody else can put something into what Lading keeps.
  const wide: string[] = [];
  for (const entry of await readdir(machine.home, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (((await lstat(path)).mode & 0o022) !== 0) wide.push(path.slice(machine.home.length));
  }
  expect(wide).toEqual([]);
});

threat("B1", "a file that others can read is warned about, and narrowed when it is written", async () => {
  const registry = await stage.registry((exchange) => {
    exchange.send(401, { "www-authenticate": 'Basic realm="here"' });
    return true;
  });
  await writeDockerConfig({ auths: { [registry.host]: { auth } } }, 0o644);
  const used = await machine.lading(["digest", `${registry.host}/a/b:v1`]);
  expect(used.stderr).toMatch(/^warning: .*chmod 600/m);
  expect(used.stderr).toContain(dockerConfig());
  expect(used.stderr).not.toContain(auth);
  registry.handlers.length = 0;
  expect(await machine.lading([...logIn, registry.host], { input: secrets.password })).toMatchObject({ code: 0 });
  expect((await stat(dockerConfig())).mode & 0o777).toBe(0o600);
  expect((await machine.lading(["digest", `${registry.host}/a/b:v1`])).stderr).not.toContain("chmod");
});

threat("B1", "a symbolic link stays one", async () => {
  const registry = await stage.registry();
  await mkdir(join(machine.home, "dotfiles"));
  for (const [path, args, input] of [
    [dockerConfig(), [...logIn, registry.host], secrets.password],
    [ladingConfig(), ["config", "set", "owner", "bob"], ""],
  ] as const) {
    const target = join(machine.home, "dotfiles", path.split("/").at(-1) ?? "");
    await writeFile(target, path.endsWith("json") ? "{}" : "");
    await mkdir(join(path, ".."), { recursive: true });
    await symlink(target, path);
    expect(await machine.lading(args, { input })).toMatchObject({ code: 0 });
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect((await stat(target)).mode & 0o777).toBe(0o600);
    expect(await readFile(target, "utf8")).toMatch(/carol|Y2Fyb2|bob/);
  }
});

threat(
  "B1",
  "killed at any step of a save, the old or the new file is there, and the next save goes through",
  async () => {
    const registry = await stage.registry();
    const before = { auths: { "other.example": { auth } } };
    for (const [path, args, input, read] of [
      [dockerConfig(), [...logIn, registry.host], secrets.password, JSON.parse],
      [ladingConfig(), ["config", "set", "owner", "bob"], "", parse],
    ] as const) {
      const old = path.endsWith("json") ? JSON.stringify(before) : 'owner = "alice"\n';
      await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
      await writeFile(path, old, { mode: 0o600 });
      const whole = await faultyLading(machine, args, { input });
      expect(whole).toMatchObject({ code: 0 });
      const now = JSON.stringify(read(await readFile(path, "utf8")));
      expect(whole.report.steps).toBeGreaterThan(5);
      for (let step = 1; step <= whole.report.steps; step += 1) {
        await writeFile(path, old, { mode: 0o600 });
        await faultyLading(machine, args, { input, kill: `step ${step}` });
        const found = JSON.stringify(read(await readFile(path, "utf8")));
        expect([JSON.stringify(read(old)), now], `step ${step}`).toContain(found);
        expect((await stat(path)).mode & 0o777).toBe(0o600);
        expect(await machine.lading(args, { input }), `after step ${step}`).toMatchObject({ code: 0 });
        expect(JSON.stringify(read(await readFile(path, "utf8")))).toBe(now);
        // What a killed one leaves may hold a secret: the next one takes it away.
        expect(await readdir(join(path, ".."))).toEqual([path.split("/").at(-1)]);
      }
    }
  },
);

/** So many kills for each round of the long run, whose 50 make the table's thousand. */
const savesKilled = 20 * randomRounds;

if (savesKilled > 0) {
  const title = `killed at ${savesKilled} random moments of one save after the other, both files are whole each time`;
  threat(
    "B1",
    title,
    async () => {
      const script = await bundleStoreWorker(await mkdtemp(join(folder, "worker-")), "save-worker");
      const others = { "other.example": { auth } };
      await writeDockerConfig({ auths: others, more: 1 });
      await mkdir(join(ladingConfig(), ".."), { recursive: true, mode: 0o700 });
      await writeFile(ladingConfig(), 'cluster = "main"\n', { mode: 0o600 });
      let saved = 0;
      const found = { mid: 0 };
      await seeded("B1", savesKilled, async (chance) => {
        const saving = startStoreProcess(script, machine.home, String(saved + 1));
        await saving.line(`saved ${saved + 1}`);
        await delay(chance.below(40));
        saving.child.kill("SIGKILL");
        const { status, output } = await saving.ended;
        expect(status).toBe("SIGKILL");
        const told = Number(/saved (\d+)\s*$/.exec(output)?.[1]);
        const { auths, ...rest } = JSON.parse(await readFile(dockerConfig(), "utf8"));
        const config = parse(await readFile(ladingConfig(), "utf8"));
        const { "saved.example": entry, ...kept } = auths;
        const password = Buffer.from(entry.auth, "base64").toString();
        const number = Number(/^carol:(\d+)-x+$/.exec(password)?.[1]);
        // What it said is there; what it had not said yet is there whole or not at all.
        expect([told, told + 1]).toContain(number);
        expect(password).toBe(`carol:${`${number}-`.padEnd(200 + (number % 5) * 400, "x")}`);
        expect([`carol${told}`, `carol${number}`]).toContain(config.owner);
        expect([kept, rest, config.cluster]).toEqual([others, { more: 1 }, "main"]);
        for (const path of [dockerConfig(), ladingConfig()]) expect((await stat(path)).mode & 0o777).toBe(0o600);
        if ((await readdir(join(dockerConfig(), ".."))).length > 1) found.mid += 1;
        saved = number;
      });
      // The moments were what they are for: in the middle of a save, too. One that is repeated alone may not be.
      if (!process.env.LADING_FAULT_SEED?.includes(".")) expect(found.mid).toBeGreaterThan(0);
    },
    60_000 + savesKilled * 5_000,
  );
}

threat("B2", "a file that can't be read is named, and not quoted", async () => {
  const registry = await stage.registry((exchange) => {
    exchange.send(401, { "www-authenticate": 'Basic realm="here"' });
    return true;
  });
  const canary = secrets.password;
  for (const text of [
    `{"auths": {"quay.io": {"auth": "${canary}"`,
    `{"auths": {"quay.io": {"auth": "${canary}" "x": 1}}}`,
    canary,
    `{"auths": {"${registry.host}": "${canary}"}}`,
    `{"auths": {"${registry.host}": {"auth": "${canary}!"}}}`,
    `{"credsStore": {"x": "${canary}"}}`,
    `{"credsStore": "../${canary}"}`,
  ]) {
    await writeDockerConfig(text);
    for (const args of [
      ["digest", `${registry.host}/a/b:v1`],
      ["doctor", "--cluster", "local"],
      [...logIn, registry.host],
    ]) {
      const { code, stdout, stderr } = await machine.lading([...args, "--debug"], { input: "x" });
      expect(stdout + stderr, `${args[0]} with ${text}`).not.toContain(canary);
      if (args[0] === "digest") {
        expect(code, stderr).toBe(78);
        expect(stderr).toContain(text.includes("..") ? "helper" : dockerConfig());
      }
    }
    // Nothing of it was lost, nor was anything put beside it.
    expect(await readFile(dockerConfig(), "utf8")).toBe(text);
  }
  await mkdir(join(ladingConfig(), ".."), { recursive: true });
  for (const text of [`owner = ${canary}`, `[clusters.main]\nregistryUrl = "${canary}`, `${canary} = [`]) {
    await writeFile(ladingConfig(), text);
    for (const args of [["ls"], ["config", "show"], ["config", "set", "owner", "x"], ["doctor"]]) {
      const { code, stdout, stderr } = await machine.lading([...args, "--debug"]);
      expect(stdout + stderr, `${args.join(" ")} with ${text}`).not.toContain(canary);
      expect(stdout + stderr).toContain(ladingConfig());
      expect(code).not.toBe(0);
    }
  }
});
