import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type DockerRegistry, findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { findProgram, missingPrograms, output, runProgram, suiteName } from "../support/programs.js";
import { startTokenServer, type TokenServer } from "../support/token-server.js";
import { failureOf, refused } from "./failure.js";
import { type LadingOptions, Machine, type Outcome } from "./machine.js";

/** Nothing that Lading prints or writes may hold it, except where a credential belongs. */
const password = "canary-5f1c-secret";
const registryProgram = await findDockerRegistry();
const reason =
  registryProgram === null ? "the program docker-registry is not installed" : missingPrograms(["htpasswd", "openssl"]);

let folder: string;
let machine: Machine;
let registry: DockerRegistry;
/** What was printed by all runs of a test. */
let printed: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-login-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  printed = "";
  machine = await Machine.create();
  await machine.putImage("app:1", { layers: 3 });
});
afterEach(async () => {
  expect(printed).not.toContain(password);
  expect(printed).not.toContain(Buffer.from(`alice:${password}`).toString("base64"));
  await machine.remove();
});

const env = () => ({ LADING_REGISTRY_URL: registry.url });
const host = () => `127.0.0.1:${registry.port}`;

async function lading(args: readonly string[], options: LadingOptions = {}): Promise<Outcome> {
  const outcome = await machine.lading(args, { ...options, env: { ...env(), ...options.env } });
  printed += outcome.stdout + outcome.stderr;
  return outcome;
}

const logIn = (secret = password, more: Readonly<Record<string, string>> = {}) =>
  lading(["login", "-u", "alice", "--password-stdin"], { input: `${secret}\n`, env: more });

const configFile = () => join(machine.home, ".docker", "config.json");

/** Pushes, looks at, pulls and removes an image: each as an account that may do all of it. */
async function mainJob(more: Readonly<Record<string, string>> = {}): Promise<void> {
  const run = async (...args: string[]) => {
    const outcome = await lading(args, { env: more });
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    return outcome.stdout.trimEnd();
  };
  const pushed = await run("push", "app:1");
  const digest = pushed.slice(pushed.indexOf("@") + 1);
  expect(await run("tags", "image:app")).toBe("1");
  expect(await run("digest", "image:app:1")).toBe(digest);
  await run("rmi", "app:1");
  expect(await run("pull", "image:app:1")).toBe("app:1");
  await run("rm", "image:app:1", "--yes");
  await refused(
    machine,
    ["digest", "image:app:1"],
    { code: "not-found", side: "source", exit: 72 },
    { env: { ...env(), ...more } },
  );
}

describe.skipIf(reason !== null)(suiteName("a registry with passwords (htpasswd)", reason), () => {
  beforeAll(async () => {
    const file = join(folder, "htpasswd");
    await writeFile(file, `${await output("htpasswd", ["-niB", "alice"], { input: password })}\n`);
    const auth = { htpasswd: { realm: "tests", path: file } };
    registry = await startDockerRegistry(registryProgram ?? "", { auth });
  });
  afterAll(async () => {
    await registry?.close();
  });

  it("takes nothing before a login, and does the main job after it", async () => {
    const expected = { code: "unauthorized", side: "destination", exit: 77 } as const;
    await refused(machine, ["push", "app:1"], expected, { env: env() });
    await refused(machine, ["tags", "image:app"], { ...expected, side: "source" }, { env: env() });
    expect(await logIn()).toMatchObject({ code: 0, stdout: "" });
    expect((await stat(configFile())).mode & 0o777).toBe(0o600);
    await mainJob();
    expect((await lading(["ls"])).code).toBe(0);
  });

  it("refuses a wrong password, and leaves the file as it was", async () => {
    const before = '{ "auths": { "other.example": { "auth": "b2xkOm9sZA==" } }, "psFormat": "table" }\n';
    await mkdir(join(machine.home, ".docker"));
    await writeFile(configFile(), before);
    const input = "wrong\n";
    const args = ["login", "-u", "alice", "--password-stdin"];
    await refused(machine, args, { code: "unauthorized", side: null, exit: 77 }, { input, env: env() });
    expect(await readFile(configFile(), "utf8")).toBe(before);
    expect(await readdir(join(machine.home, ".docker"))).toEqual(["config.json"]);

    expect(await logIn()).toMatchObject({ code: 0 });
    const after = JSON.parse(await readFile(configFile(), "utf8"));
    expect(after).toMatchObject({ auths: { "other.example": { auth: "b2xkOm9sZA==" } }, psFormat: "table" });
    expect(Object.keys(after.auths)).toContain(host());
  });

  it("forgets at a logout", async () => {
    expect(await logIn()).toMatchObject({ code: 0 });
    expect(await lading(["logout", host()])).toMatchObject({ code: 0 });
    expect(await readFile(configFile(), "utf8")).not.toContain(host());
    await refused(machine, ["push", "app:1"], { code: "unauthorized", side: "destination", exit: 77 }, { env: env() });
  });

  it("ends at once where there is nobody to ask", async () => {
    await refused(machine, ["login", "-u", "alice"], {
      code: "usage",
      side: null,
      exit: 64,
    });
  });

  it("leaves the credential to the program that the file names", async () => {
    const programs = join(machine.home, "bin");
    const kept = join(machine.home, "kept.json");
    await mkdir(programs);
    // As docker-credential-pass and its like: one argument, JSON or a name on stdin, JSON on stdout.
    const script = `#!${process.execPath}
const { readFileSync, writeFileSync, existsSync, rmSync } = require("node:fs");
const input = readFileSync(0, "utf8"), kept = ${JSON.stringify(kept)}, verb = process.argv[2];
if (process.argv.length !== 3) process.exit(9);
if (verb === "store") writeFileSync(kept, input, { mode: 0o600 });
else if (verb === "erase") rmSync(kept);
else if (verb === "get" && existsSync(kept) && JSON.parse(readFileSync(kept)).ServerURL === input.trim()) process.stdout.write(readFileSync(kept));
else { process.stdout.write("credentials not found in native keychain"); process.exit(1); }
`;
    await writeFile(join(programs, "docker-credential-keeper"), script);
    await chmod(join(programs, "docker-credential-keeper"), 0o755);
    const more = { PATH: `${programs}${delimiter}${process.env.PATH ?? ""}` };
    await mkdir(join(machine.home, ".docker"));
    await writeFile(configFile(), JSON.stringify({ credsStore: "keeper" }));

    expect(await logIn(password, more)).toMatchObject({ code: 0 });
    expect(await readFile(configFile(), "utf8")).not.toContain('"auth"');
    expect(JSON.parse(await readFile(kept, "utf8"))).toMatchObject({ Username: "alice", Secret: password });
    await mainJob(more);
    const doctor = await lading(["doctor", "--json"], { env: more });
    expect(doctor.stdout).toContain("keeper");
    expect(await lading(["logout"], { env: more })).toMatchObject({ code: 0 });
    expect(await readdir(machine.home)).not.toContain("kept.json");
  });

  it("is told apart by debug output and doctor, which never show the secret", async () => {
    expect(await logIn()).toMatchObject({ code: 0 });
    for (const args of [["doctor"], ["doctor", "--json"], ["push", "app:1", "--debug"], ["config", "show", "--json"]]) {
      expect(await lading(args)).toMatchObject({ code: 0 });
    }
    // `afterEach` looks at all of it.
    expect(printed).toContain(host());
  });

  const others = missingPrograms(["skopeo", "crane"]);
  it.skipIf(others !== null)(suiteName("writes what skopeo and crane read", others), async () => {
    expect(await logIn()).toMatchObject({ code: 0 });
    const pushed = (await lading(["push", "app:1"])).stdout.trimEnd();
    const digest = pushed.slice(pushed.indexOf("@") + 1);
    const name = `${host()}/alice/app:1`;
    const theirs = { DOCKER_CONFIG: join(machine.home, ".docker"), HOME: machine.home };
    expect(await output("crane", ["digest", "--insecure", name], { env: theirs })).toBe(digest);
    const file = ["--authfile", configFile(), "--tls-verify=false"];
    const inspected = JSON.parse(await output("skopeo", ["inspect", ...file, `docker://${name}`], { env: theirs }));
    expect(inspected.Digest).toBe(digest);
  });

  const logins: readonly [program: string, args: (file: string) => readonly string[]][] = [
    ["docker", (file) => ["--config", join(file, ".."), "login", "-u", "alice", "--password-stdin", host()]],
    [
      "podman",
      (file) => ["login", "--authfile", file, "--tls-verify=false", "-u", "alice", "--password-stdin", host()],
    ],
    [
      "skopeo",
      (file) => ["login", "--authfile", file, "--tls-verify=false", "-u", "alice", "--password-stdin", host()],
    ],
    ["crane", () => ["auth", "login", host(), "-u", "alice", "--password-stdin"]],
    ["oras", (file) => ["login", "--registry-config", file, "--plain-http", "-u", "alice", "--password-stdin", host()]],
  ];
  for (const [program, args] of logins) {
    const missing = missingPrograms([program]);
    it.skipIf(missing !== null)(suiteName(`reads what ${program} login wrote`, missing), async () => {
      const file = configFile();
      await mkdir(join(file, ".."));
      const own = {
        HOME: machine.home,
        DOCKER_CONFIG: join(file, ".."),
        DOCKER_HOST: `unix://${machine.home}/none.sock`,
      };
      const { status, stderr } = await runProgram(findProgram(program) ?? program, args(file), {
        input: password,
        env: own,
      });
      expect({ program, status }, stderr).toEqual({ program, status: 0 });
      const byName: Record<string, string> = program === "podman" ? { REGISTRY_AUTH_FILE: file } : {};
      await mainJob(byName);
    });
  }
});

describe.skipIf(reason !== null)(suiteName("a registry with a token service", reason), () => {
  let tokens: TokenServer;
  beforeAll(async () => {
    const all = ["pull", "push", "delete"];
    tokens = await startTokenServer({
      folder: join(folder, "token"),
      accounts: {
        alice: { password, rights: { "alice/": all } },
        bob: { password: "bobs", rights: { "alice/": ["pull"] } },
      },
    });
    registry = await startDockerRegistry(registryProgram ?? "", { auth: tokens.auth });
  });
  afterAll(async () => {
    await registry?.close();
    await tokens?.close();
  });

  /** The service has a port of its own: on one machine only the user's word makes it the registry's. */
  const trusting = async () => {
    const realm = new URL(tokens.realm).host;
    const text = `cluster = "main"\nowner = "alice"\n[clusters.main]\nregistryUrl = "${registry.url}"\nauthHosts = ["${realm}"]\n`;
    await writeFile(join(machine.home, "config.toml"), text);
    return { LADING_CONFIG: join(machine.home, "config.toml") };
  };

  it("is not asked without the user's word: a server names it, on this machine's loopback", async () => {
    const before = tokens.requests.length;
    await refused(machine, ["push", "app:1"], { code: "unsafe-url", side: "destination", exit: 65 }, { env: env() });
    expect(tokens.requests.length).toBe(before);
  });

  it("is asked once for all that a transfer needs, with the credential of the login", async () => {
    const more = await trusting();
    expect(await logIn(password, more)).toMatchObject({ code: 0 });
    const before = tokens.requests.length;
    expect(await lading(["push", "app:1"], { env: more })).toMatchObject({ code: 0 });
    const asked = tokens.requests.slice(before);
    expect(asked).toEqual([{ account: "alice", scopes: ["repository:alice/app:pull,push"] }]);
    expect(await lading(["rmi", "app:1"], { env: more })).toMatchObject({ code: 0 });
    expect(await lading(["pull", "image:app:1"], { env: more })).toMatchObject({ code: 0 });
    expect(tokens.requests.slice(before + 1)).toEqual([{ account: "alice", scopes: ["repository:alice/app:pull"] }]);
    expect(await lading(["rm", "image:app:1", "--yes"], { env: more })).toMatchObject({ code: 0 });
  });

  it("refuses a wrong password: nothing is stored", async () => {
    const more = await trusting();
    const args = ["login", "-u", "alice", "--password-stdin"];
    const options = { input: "wrong\n", env: { ...env(), ...more } };
    await refused(machine, args, { code: "unauthorized", side: null, exit: 77 }, options);
    expect(await readdir(machine.home)).not.toContain(".docker");
  });

  it("gives an account no more than its rights: a push is denied, and nothing of it is seen", async () => {
    const more = await trusting();
    const bob = await lading(["login", "-u", "bob", "--password-stdin"], { input: "bobs\n", env: more });
    expect(bob).toMatchObject({ code: 0 });
    const failure = failureOf(await lading(["push", "app:1", "image:app:denied", "--json"], { env: more }));
    expect(failure).toMatchObject({ code: "denied", side: "destination", exit: 77 });
    expect(await logIn(password, more)).toMatchObject({ code: 0 });
    expect(await lading(["push", "app:1"], { env: more })).toMatchObject({ code: 0 });
    expect(await lading(["tags", "image:app"], { env: more })).toMatchObject({ code: 0, stdout: "1\n" });
  });
});
