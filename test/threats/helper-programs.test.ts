import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import {
  credentialSources,
  type DockerCredentialsOptions,
  dockerCredentials,
  eraseCredential,
  storeCredential,
} from "../../src/config/credentials.js";
import type { System } from "../../src/config/folders.js";
import { isLadingError, type LadingError } from "../../src/errors.js";
import { Machine } from "../cli/machine.js";
import { basic, secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const canary = secrets.password;
const windows: System = { homeDirectory: () => "C:\\nowhere", userName: () => null, platform: "win32" };

let home: string;
let bin: string;
let env: Record<string, string>;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "lading-threats-"));
  bin = join(home, "bin");
  await mkdir(bin);
  await mkdir(join(home, ".docker"));
  env = { HOME: home, PATH: `${bin}:/usr/bin:/bin`, HELPER_LOG: join(home, "log") };
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

/** A helper that notes how it is called, and then does what the script says. */
async function writeHelper(name: string, script: string): Promise<void> {
  const text = `#!/bin/sh\ninput=$(cat)\nprintf '%s|%s|%s\\n' "$#" "$*" "$input" >> "$HELPER_LOG"\n${script}\n`;
  await writeFile(join(bin, `docker-credential-${name}`), text, { mode: 0o755 });
}
const answering = `printf '%s' '${JSON.stringify({ Username: secrets.username, Secret: canary })}'`;
const configure = (value: unknown) => writeFile(join(home, ".docker", "config.json"), JSON.stringify(value));
const calls = async () => (await readFile(join(home, "log"), "utf8").catch(() => "")).trimEnd();

const ask = (options: Partial<DockerCredentialsOptions> = {}, registry = "quay.io") =>
  dockerCredentials({ env, ...options })({
    registry,
    repository: null,
    actions: ["pull"],
    side: null,
    signal: undefined,
  });

/** The error of what has to fail: nothing that a file or a program holds is in any part of it. */
async function failure(work: Promise<unknown>): Promise<LadingError> {
  const error: unknown = await work.then(
    () => new Error("nothing thrown"),
    (reason: unknown) => reason,
  );
  if (!isLadingError(error)) throw error;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    expect(`${cause.stack} ${JSON.stringify({ ...cause })}`).not.toContain(canary);
  }
  return error;
}

threat("B4", "a helper's name that leads elsewhere is refused before anything runs", async () => {
  await writeHelper("good", answering);
  for (const name of [
    "../x",
    "x;y",
    "-x",
    "x y",
    "x/../y",
    "x..y",
    "$(id)",
    "`id`",
    "x\n",
    ".x",
    "ü",
    "a".repeat(101),
  ]) {
    for (const config of [{ credsStore: name }, { credHelpers: { "quay.io": name } }]) {
      await configure(config);
      expect((await failure(ask())).code, name).toBe("config-invalid");
      expect((await failure(credentialSources("quay.io", env))).code, name).toBe("config-invalid");
    }
  }
  expect(await calls()).toBe("");
});

threat(
  "B4",
  "a server's name that is none is refused before anything runs; a good one goes in by stdin alone",
  async () => {
    await writeHelper("good", answering);
    await configure({ credsStore: "good" });
    const credential = { identityToken: "t" };
    for (const registry of ["https://quay.io", "quay.io/org", "quay.io\nevil", "quay.io\0", "user@quay.io", "-x", ""]) {
      for (const work of [
        () => ask({}, registry),
        () => credentialSources(registry, env),
        () => storeCredential({ registry, credential, env }),
        () => eraseCredential({ registry, env }),
      ]) {
        expect((await failure(work())).code, JSON.stringify(registry)).toBe("bad-reference");
      }
    }
    expect(await calls()).toBe("");
    await ask();
    await storeCredential({ registry: "quay.io", credential: { username: "u", password: canary }, env });
    const [get, store] = (await calls()).split("\n");
    expect(get).toBe("1|get|quay.io");
    expect(store).toMatch(/^1\|store\|\{.*canary-7f3a/);
  },
);

for (const [what, script, code] of [
  ["exits with an error", `echo '${canary}'; echo '${canary}' >&2; exit 1`, "config-invalid"],
  ["answers no JSON", `echo '${canary}'`, "config-invalid"],
  ["answers with an array", `echo '["${canary}"]'`, "config-invalid"],
  ["answers without a secret", `echo '{"Username":"${canary}"}'`, "config-invalid"],
  ["answers with a number", `echo '{"Username":"${canary}","Secret":7}'`, "config-invalid"],
  ["answers with a newline in the secret", `printf '%s' '{"Username":"u","Secret":"${canary}\\nx"}'`, "config-invalid"],
  ["prints without an end", `while :; do printf '${canary.repeat(50)}'; done`, "limit-exceeded"],
  ["prints errors without an end", `while :; do printf '${canary.repeat(50)}' >&2; done`, "limit-exceeded"],
  ["is killed", "kill -9 $$", "config-invalid"],
  ["hangs", `echo '${canary}'; exec sleep 600`, "timeout"],
  ["hangs deaf to signals", `trap '' TERM INT HUP; while :; do :; done`, "timeout"],
] as const) {
  threat("B4", `a helper that ${what} is an error without its words, not a reason to look elsewhere`, async () => {
    await writeHelper("bad", script);
    const entry = { auth: Buffer.from(`u:${canary}`).toString("base64") };
    await configure({ credsStore: "bad", auths: { "quay.io": entry } });
    await mkdir(join(home, ".config", "containers"), { recursive: true });
    await writeFile(join(home, ".config", "containers", "auth.json"), JSON.stringify({ auths: { "quay.io": entry } }));
    expect((await failure(ask(code === "timeout" ? { helperTimeout: 300 } : {}))).code).toBe(code);
  });
}

threat(
  "B4",
  "the command line shows nothing that a helper prints, and gives it no secret by its arguments",
  async () => {
    const machine = await Machine.create();
    stage.keep({ close: () => machine.remove() });
    const registry = await stage.registry((exchange) => {
      if (exchange.headers.authorization === basic) return false;
      exchange.send(401, { "www-authenticate": 'Basic realm="here"' });
      return true;
    });
    await configure({ credsStore: "bad" });
    const options = { env: { ...env, DOCKER_CONFIG: join(home, ".docker") } };
    const digest = ["digest", `${registry.host}/a/b:v1`, "--debug"];
    await writeHelper("bad", `echo '${canary}'; echo '${canary}' >&2; exit 1`);
    const failed = await machine.lading(digest, options);
    expect(failed.code).toBe(78);
    await writeHelper("bad", answering);
    const good = await machine.lading(digest, options);
    expect(good.code, good.stderr).toBe(72);
    const login = ["login", registry.host, "-u", secrets.username, "--password-stdin", "--debug"];
    const logged = await machine.lading(login, { ...options, input: canary });
    expect(logged.code, logged.stderr).toBe(0);
    for (const { stdout, stderr } of [failed, good, logged]) expect(stdout + stderr).not.toContain(canary);
    expect((await calls()).split("\n").map((line) => line.split("|").slice(0, 2).join(" "))).toEqual([
      "1 get",
      "1 get",
      "1 store",
    ]);
  },
);

threat("B4", "helpers are looked for in absolute folders of PATH alone", async () => {
  await writeHelper("here", answering);
  await configure({ credsStore: "here" });
  for (const path of ["", ".", ":", `${relative(process.cwd(), bin)}:`, "bin"]) {
    env.PATH = path;
    expect((await failure(ask())).code, path).toBe("config-invalid");
  }
  env.PATH = bin;
  await chmod(join(bin, "docker-credential-here"), 0o644);
  expect((await failure(ask())).code).toBe("config-invalid");
  expect(await calls()).toBe("");
});

threat("B5", "on Windows a helper is a .exe and never a batch file", async () => {
  for (const ending of [".cmd", ".bat", ".ps1", ""]) {
    await writeFile(join(bin, `docker-credential-x${ending}`), `#!/bin/sh\necho run >> "$HELPER_LOG"\n`, {
      mode: 0o755,
    });
  }
  env.USERPROFILE = home;
  await configure({ credsStore: "x" });
  expect((await failure(ask({ system: windows }))).code).toBe("config-invalid");
  expect(await calls()).toBe("");
  await writeHelper("x.exe", answering);
  expect(await ask({ system: windows })).toMatchObject({ username: secrets.username });
});
