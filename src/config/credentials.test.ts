/** Real files and real helper programs in a folder of their own; longer than other tests since each rule about secrets is one. */
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isLadingError, type LadingError } from "../errors.js";
import type { Credential, CredentialRequest } from "../oci/credential.js";
import { splitKey } from "./auth-file.js";
import {
  credentialSources,
  type DockerCredentialsOptions,
  dockerCredentials,
  eraseCredential,
  storeCredential,
} from "./credentials.js";

const canary = "CANARY-7f3a";
const basic = (username: string, password: string) => Buffer.from(`${username}:${password}`).toString("base64");

let home: string;
let bin: string;
let env: Record<string, string>;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "lading-cred-"));
  bin = join(home, "bin");
  await mkdir(bin);
  env = { HOME: home, PATH: `${bin}:/usr/bin:/bin`, HELPER_LOG: join(home, "log") };
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

async function writeJson(path: string, value: unknown, mode = 0o600): Promise<string> {
  const whole = join(home, path);
  await mkdir(join(whole, ".."), { recursive: true });
  await writeFile(whole, typeof value === "string" ? value : JSON.stringify(value), { mode });
  await chmod(whole, mode);
  return whole;
}

/** A helper that notes verb and input, and then does what the script says. */
async function writeHelper(name: string, script: string): Promise<void> {
  const program = `#!/bin/sh\ninput=$(cat)\nprintf '%s %s\\n' "$1" "$input" >> "$HELPER_LOG"\n${script}\n`;
  await writeFile(join(bin, `docker-credential-${name}`), program, { mode: 0o755 });
}

const answering = (username: string, secret: string) =>
  `printf '%s' '${JSON.stringify({ ServerURL: "x", Username: username, Secret: secret })}'`;

async function helperLog(): Promise<readonly string[]> {
  const text = await readFile(join(home, "log"), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

function request(registry: string, repository: string | null = null, signal?: AbortSignal): CredentialRequest {
  return { registry, repository, actions: ["pull"], side: null, signal };
}

async function fetch(
  registry: string,
  repository: string | null = null,
  options: Partial<DockerCredentialsOptions> = {},
) {
  return await dockerCredentials({ env, ...options })(request(registry, repository));
}

async function failure(work: Promise<unknown>): Promise<LadingError> {
  try {
    await work;
  } catch (error) {
    if (!isLadingError(error)) throw error;
    // Whatever went wrong: what a file or a helper holds is in no part of the error.
    expect(`${error.stack} ${error.hint} ${String(error.cause)} ${JSON.stringify(error)}`).not.toContain(canary);
    return error;
  }
  throw new Error("nothing thrown");
}

describe("where credentials are", () => {
  it("nothing there is anonymous", async () => {
    expect(await fetch("quay.io", "org/app")).toBeNull();
  });

  it("Docker's file is in ~/.docker, or where DOCKER_CONFIG says", async () => {
    await writeJson(".docker/config.json", { auths: { "quay.io": { auth: basic("home", "p") } } });
    await writeJson("other/config.json", { auths: { "quay.io": { auth: basic("other", "p") } } });
    expect(await fetch("quay.io")).toEqual({ username: "home", password: "p" });
    env.DOCKER_CONFIG = join(home, "other");
    expect(await fetch("quay.io")).toEqual({ username: "other", password: "p" });
  });

  it("Podman's files and REGISTRY_AUTH_FILE are asked after it, DOCKER_AUTH_CONFIG before it", async () => {
    const file = (name: string, ...hosts: string[]) => ({
      auths: Object.fromEntries(hosts.map((host) => [host, { auth: basic(name, "p") }])),
    });
    await writeJson(".config/containers/auth.json", file("home", "a.io", "b.io", "c.io", "d.io", "e.io"));
    env.XDG_RUNTIME_DIR = join(home, "run");
    await writeJson("run/containers/auth.json", file("runtime", "a.io", "b.io", "c.io"));
    await writeJson(".docker/config.json", file("docker", "a.io", "b.io"));
    env.DOCKER_AUTH_CONFIG = JSON.stringify(file("inline", "a.io"));
    const names = async () => {
      const found: unknown[] = [];
      for (const host of ["a.io", "b.io", "c.io", "d.io", "f.io"])
        found.push((await fetch(host)) as { username: string } | null);
      return found.map((one) => (one as { username: string } | null)?.username ?? null);
    };
    expect(await names()).toEqual(["inline", "docker", "runtime", "home", null]);
    env.REGISTRY_AUTH_FILE = await writeJson("named.json", file("named", "c.io", "f.io"));
    expect(await names()).toEqual(["inline", "docker", "named", null, "named"]);
  });

  it.each<readonly [string, Record<string, unknown>, Credential | null]>([
    ["auth", { auth: basic("u", "p:with:colons") }, { username: "u", password: "p:with:colons" }],
    ["auth that ends in NUL, as old ones do", { auth: basic("u", "p\0\0") }, { username: "u", password: "p" }],
    ["user and password apart", { username: "u", password: "p" }, { username: "u", password: "p" }],
    ["identitytoken beside auth", { auth: basic("00000000", "x"), identitytoken: "t" }, { identityToken: "t" }],
    ["registrytoken", { registrytoken: "r" }, { registryToken: "r" }],
    ["the token user", { auth: basic("<token>", "t") }, { identityToken: "t" }],
    ["an empty entry", {}, null],
    ["an empty auth", { auth: "" }, null],
    ["a user without a password", { auth: basic("u", "") }, null],
  ])("reads %s", async (_what, entry, credential) => {
    await writeJson(".docker/config.json", { auths: { "quay.io": entry } });
    expect(await fetch("quay.io")).toEqual(credential);
  });
});

describe("which credentials are given (CVE-2021-41092, GHSA-6c87-g9pw-78fx)", () => {
  it("those of exactly this host and port", async () => {
    const auths = { "example.com": { auth: basic("u", canary) }, "example.com:5000": { auth: basic("v", "p") } };
    await writeJson(".docker/config.json", { auths, credHelpers: { "help.example": "missing" } });
    expect(await fetch("example.com")).toEqual({ username: "u", password: canary });
    expect(await fetch("EXAMPLE.com")).toEqual({ username: "u", password: canary });
    expect(await fetch("example.com:5000")).toEqual({ username: "v", password: "p" });
    const others = [
      "example.com.test2",
      "badexample.com",
      "example.com:444",
      "xample.com",
      "com",
      "docker.io",
      "a.example.com",
      "example-com",
    ];
    for (const registry of [...others, "help.example.org", "help.example:1"]) expect(await fetch(registry)).toBeNull();
  });

  it("never those of another host, whatever the two are called", async () => {
    const hosts = fc.stringMatching(/^[a-c]{1,2}(\.[a-c]{1,2}){0,2}(:[1-3]{1,2})?$/);
    await fc.assert(
      fc.asyncProperty(hosts, hosts, async (mine, asked) => {
        const inline = JSON.stringify({ auths: { [mine]: { auth: basic("u", "p") } } });
        const found = await dockerCredentials({ env: { HOME: home, DOCKER_AUTH_CONFIG: inline } })(
          request(asked, "a/b"),
        );
        expect(found !== null).toBe(mine === asked);
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    "https://index.docker.io/v1/",
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "https://docker.io",
    "https://registry-1.docker.io/v2/",
  ])("Docker Hub's under %s", async (key) => {
    await writeJson(".docker/config.json", { auths: { [key]: { auth: basic("u", "p") } } });
    for (const registry of ["docker.io", "registry-1.docker.io", "index.docker.io"]) {
      expect(await fetch(registry, "library/ubuntu")).toEqual({ username: "u", password: "p" });
    }
    expect(await fetch("hub.docker.io")).toBeNull();
    expect(await fetch("quay.io")).toBeNull();
  });

  it.each<readonly [string, string, string | null]>([
    ["quay.io", "quay.io", null],
    ["https://quay.io", "quay.io", null],
    ["http://localhost:5000/", "localhost:5000", null],
    ["https://quay.io/v1/", "quay.io", null],
    ["Quay.IO/v2", "quay.io", null],
    ["quay.io/org", "quay.io", "org"],
    ["quay.io/org/app/", "quay.io", "org/app"],
    ["https://quay.io/org", "quay.io", "org"],
    ["https://index.docker.io/v1/", "docker.io", null],
    ["docker.io/library", "docker.io", "library"],
  ])("the key %s is for %s and %s", (key, host, repository) => {
    expect(splitKey(key)).toEqual({ host, repository });
  });

  it("those for a repository match on the borders of its path, the most specific first", async () => {
    const entry = (name: string) => ({ auth: basic(name, "p") });
    await writeJson(".config/containers/auth.json", {
      auths: {
        "quay.io": entry("host"),
        "quay.io/org": entry("org"),
        "quay.io/org/app": entry("app"),
        "only.io/org": entry("only"),
      },
    });
    const user = async (registry: string, repository: string | null) =>
      ((await fetch(registry, repository)) as { username: string } | null)?.username ?? null;
    expect(await user("quay.io", "org/app")).toBe("app");
    expect(await user("quay.io", "org/app/sub")).toBe("app");
    expect(await user("quay.io", "org/app2")).toBe("org");
    expect(await user("quay.io", "org")).toBe("org");
    expect(await user("quay.io", "organisation/app")).toBe("host");
    expect(await user("quay.io", null)).toBe("host");
    expect(await user("only.io", "org/app")).toBe("only");
    expect(await user("only.io", "other/app")).toBeNull();
    expect(await user("only.io", null)).toBeNull();
  });
});

describe("a file that is not right (CVE-2020-8564)", () => {
  it.each<readonly [string, string]>([
    ["no JSON", `{"auths": {"quay.io": {"auth": "${canary}"`],
    ["a missing comma", `{"auths": {"quay.io": {"auth": "${canary}" "x": 1}}}`],
    ["a bare secret", canary],
    ["an array", `["${canary}"]`],
    ["a text", `"${canary}"`],
    ["auths that is none", `{"auths": "${canary}"}`],
    ["an entry that is none", `{"auths": {"quay.io": "${canary}"}}`],
    ["credHelpers that is none", `{"credHelpers": ["${canary}"]}`],
    ["a helper that is none", `{"credHelpers": {"quay.io": 1}}`],
    ["credsStore that is none", `{"credsStore": {"x": "${canary}"}}`],
    ["auth that is no base64", `{"auths": {"quay.io": {"auth": "${canary}!"}}}`],
    [
      "auth without a colon",
      JSON.stringify({ auths: { "quay.io": { auth: Buffer.from(canary).toString("base64") } } }),
    ],
    ["auth without a user", JSON.stringify({ auths: { "quay.io": { auth: basic("", canary) } } })],
    ["a secret with a newline", JSON.stringify({ auths: { "quay.io": { registrytoken: `${canary}\r\nX: y` } } })],
  ])("%s: config-invalid with its path and nothing of it", async (_what, text) => {
    const path = await writeJson(".docker/config.json", text);
    const error = await failure(fetch("quay.io"));
    expect(error.code).toBe("config-invalid");
    expect(error.message).toContain(path);
  });

  it("is read again once it is right", async () => {
    const credentials = dockerCredentials({ env });
    await writeJson(".docker/config.json", "{");
    expect((await failure(credentials(request("quay.io")))).code).toBe("config-invalid");
    await writeJson(".docker/config.json", { auths: { "quay.io": { auth: basic("u", "p") } } });
    expect(await credentials(request("quay.io"))).toEqual({ username: "u", password: "p" });
  });

  it("an empty one has nothing in it", async () => {
    await writeJson(".docker/config.json", "");
    expect(await fetch("quay.io")).toBeNull();
  });

  it("that others can read is warned about once, where it holds a secret", async () => {
    const warnings: string[] = [];
    const path = await writeJson(".docker/config.json", { auths: { "quay.io": { auth: basic("u", canary) } } }, 0o644);
    const credentials = dockerCredentials({ env, onWarning: (text) => warnings.push(text) });
    await credentials(request("quay.io"));
    await credentials(request("quay.io"));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(path);
    expect(warnings[0]).not.toContain(canary);
    await writeJson(".docker/config.json", { auths: { "quay.io": {} } }, 0o644);
    await dockerCredentials({ env, onWarning: (text) => warnings.push(text) })(request("quay.io"));
    expect(warnings).toHaveLength(1);
  });
});

describe("helpers", () => {
  it("one for the host comes before one for all, and both before the file", async () => {
    await writeHelper("one", answering("one", "p"));
    await writeHelper("all", answering("all", "p"));
    const auths = { "quay.io": { auth: basic("file", "p") }, "own.io": { auth: basic("file", "p") } };
    await writeJson(".docker/config.json", {
      credsStore: "all",
      credHelpers: { "quay.io": "one", "own.io": "" },
      auths,
    });
    expect(await fetch("quay.io")).toEqual({ username: "one", password: "p" });
    expect(await fetch("example.com")).toEqual({ username: "all", password: "p" });
    expect(await fetch("own.io")).toEqual({ username: "file", password: "p" });
    expect(await helperLog()).toEqual(["get quay.io", "get example.com"]);
  });

  it("are asked for Docker Hub by the name that Docker gives it", async () => {
    await writeHelper("all", answering("u", "p"));
    await writeJson(".docker/config.json", { credsStore: "all" });
    expect(await fetch("registry-1.docker.io")).toEqual({ username: "u", password: "p" });
    expect(await helperLog()).toEqual(["get https://index.docker.io/v1/"]);
  });

  it("give a refresh token under the token user", async () => {
    await writeHelper("acr", answering("<token>", "refresh"));
    await writeJson(".docker/config.json", { credHelpers: { "x.azurecr.io": "acr" } });
    expect(await fetch("x.azurecr.io")).toEqual({ identityToken: "refresh" });
  });

  it("that know nothing leave it to the next place", async () => {
    await writeHelper("none", "echo 'credentials not found in native keychain'; exit 1");
    await writeJson(".docker/config.json", { credsStore: "none" });
    expect(await fetch("quay.io")).toBeNull();
    await writeJson(".config/containers/auth.json", { auths: { "quay.io": { auth: basic("podman", "p") } } });
    expect(await fetch("quay.io")).toEqual({ username: "podman", password: "p" });
  });

  it("that do not read their input are judged by their answer", async () => {
    const program = `#!/bin/sh\n${answering("u", "p")}\n`;
    await writeFile(join(bin, "docker-credential-deaf"), program, { mode: 0o755 });
    await writeJson(".docker/config.json", { credsStore: "deaf" });
    expect(await fetch("quay.io")).toEqual({ username: "u", password: "p" });
  });
});

describe("answers are kept", () => {
  it("for one instance, until they are too old", async () => {
    await writeHelper("one", answering("u", "p"));
    await writeJson(".docker/config.json", { credsStore: "one" });
    let time = 0;
    const credentials = dockerCredentials({ env, now: () => time });
    await Promise.all([
      credentials(request("quay.io", "a")),
      credentials(request("quay.io", "b")),
      credentials(request("quay.io")),
    ]);
    await credentials(request("quay.io"));
    expect(await helperLog()).toEqual(["get quay.io"]);
    time += 60 * 60_000;
    await credentials(request("quay.io"));
    await dockerCredentials({ env })(request("quay.io"));
    expect(await helperLog()).toHaveLength(3);
  });

  it("that there are none only briefly, since somebody may log in", async () => {
    await writeHelper("one", "echo 'credentials not found in native keychain'; exit 1");
    await writeJson(".docker/config.json", { credHelpers: { "quay.io": "one" } });
    let time = 0;
    const credentials = dockerCredentials({ env, now: () => time });
    expect(await credentials(request("quay.io"))).toBeNull();
    expect(await credentials(request("other.io"))).toBeNull();
    await writeHelper("one", answering("u", "p"));
    await storeCredential({ registry: "other.io", credential: { identityToken: "t" }, env });
    time += 60_000;
    expect(await credentials(request("quay.io"))).toEqual({ username: "u", password: "p" });
    expect(await credentials(request("other.io"))).toEqual({ identityToken: "t" });
  });

  it("but failures are not", async () => {
    await writeHelper("one", "exit 1");
    await writeJson(".docker/config.json", { credsStore: "one" });
    const credentials = dockerCredentials({ env });
    expect((await failure(credentials(request("quay.io")))).code).toBe("config-invalid");
    await writeHelper("one", answering("u", "p"));
    expect(await credentials(request("quay.io"))).toEqual({ username: "u", password: "p" });
  });
});

describe("cancelling", () => {
  it("ends the helper when the last that waits has gone, and no other's call", async () => {
    const gate = join(home, "gate");
    await writeHelper("slow", `while [ ! -e '${gate}' ]; do sleep 0.05; done; ${answering("u", "p")}`);
    await writeJson(".docker/config.json", { credsStore: "slow" });
    const credentials = dockerCredentials({ env });
    const [one, two] = [new AbortController(), new AbortController()];
    const first = failure(credentials(request("quay.io", null, one.signal)));
    const second = credentials(request("quay.io", null, two.signal));
    one.abort(new Error("enough"));
    const error = await first;
    expect(error.code).toBe("cancelled");
    expect(error.cause).toBe(one.signal.reason);
    await writeFile(gate, "");
    expect(await second).toEqual({ username: "u", password: "p" });

    await rm(gate);
    const third = new AbortController();
    const again = dockerCredentials({ env });
    const waiting = failure(again(request("quay.io", null, third.signal)));
    third.abort(new Error("enough"));
    expect((await waiting).code).toBe("cancelled");
    await writeFile(gate, "");
    expect(await again(request("quay.io"))).toEqual({ username: "u", password: "p" });
  });

  it("before it has begun asks nobody", async () => {
    await writeHelper("one", answering("u", "p"));
    await writeJson(".docker/config.json", { credsStore: "one" });
    const error = await failure(
      dockerCredentials({ env })(request("quay.io", null, AbortSignal.abort(new Error("no")))),
    );
    expect(error.code).toBe("cancelled");
  });
});

describe("storeCredential and eraseCredential", () => {
  const credential: Credential = { username: "u", password: "p:q" };
  const path = () => join(home, ".docker", "config.json");
  const written = async () => JSON.parse(await readFile(path(), "utf8")) as Record<string, unknown>;

  it("make Docker's file, for its owner alone, and dockerCredentials reads it", async () => {
    expect(await storeCredential({ registry: "localhost:5000", credential, env })).toBe(path());
    expect(await written()).toEqual({ auths: { "localhost:5000": { auth: basic("u", "p:q") } } });
    expect((await stat(path())).mode & 0o777).toBe(0o600);
    expect((await stat(join(home, ".docker"))).mode & 0o777).toBe(0o700);
    expect(await fetch("localhost:5000")).toEqual(credential);
    expect(await eraseCredential({ registry: "localhost:5000", env })).toBe(true);
    expect(await eraseCredential({ registry: "localhost:5000", env })).toBe(false);
    expect(await fetch("localhost:5000")).toBeNull();
    expect(await readdir(join(home, ".docker"))).toEqual(["config.json"]);
  });

  it.each<Credential>([{ identityToken: "t" }, { registryToken: "r" }, credential])("keep %j as it is", async (one) => {
    await storeCredential({ registry: "quay.io", credential: one, env });
    expect(await fetch("quay.io")).toEqual(one);
  });

  it("replace all ways of writing one host, and keep every other key", async () => {
    const other = { auth: basic("x", "y") };
    await writeJson(".docker/config.json", {
      HttpHeaders: { a: "b" },
      auths: { "https://quay.io": other, "quay.io/v1/": other, "quay.io/org": other, "quay.io:443": other },
      currentContext: "c",
    });
    await storeCredential({ registry: "quay.io", credential, env });
    expect(await written()).toEqual({
      HttpHeaders: { a: "b" },
      auths: { "quay.io": { auth: basic("u", "p:q") }, "quay.io/org": other, "quay.io:443": other },
      currentContext: "c",
    });
    expect(await eraseCredential({ registry: "quay.io", env })).toBe(true);
    expect((await written()).auths).toEqual({ "quay.io/org": other, "quay.io:443": other });
  });

  it("keep Docker Hub under Docker's key", async () => {
    await storeCredential({ registry: "docker.io", credential, env });
    expect(Object.keys((await written()).auths as object)).toEqual(["https://index.docker.io/v1/"]);
    expect(await fetch("docker.io", "library/ubuntu")).toEqual(credential);
    expect(await eraseCredential({ registry: "registry-1.docker.io", env })).toBe(true);
  });

  it("leave it to a helper where one is configured, and mark that", async () => {
    await writeHelper("all", "true");
    await writeJson(".docker/config.json", { credsStore: "all", auths: { "quay.io": { auth: basic("old", "old") } } });
    expect(await storeCredential({ registry: "quay.io", credential, env })).toBe("docker-credential-all");
    expect(await written()).toEqual({ credsStore: "all", auths: { "quay.io": {} } });
    await storeCredential({ registry: "quay.io", credential: { identityToken: "t" }, env });
    expect(await eraseCredential({ registry: "quay.io", env })).toBe(true);
    expect(await written()).toEqual({ credsStore: "all", auths: {} });
    const stored = (username: string, secret: string) =>
      `store ${JSON.stringify({ ServerURL: "quay.io", Username: username, Secret: secret })}`;
    expect(await helperLog()).toEqual([stored("u", "p:q"), stored("<token>", "t"), "erase quay.io"]);
    expect(
      (await failure(storeCredential({ registry: "quay.io", credential: { registryToken: "r" }, env }))).code,
    ).toBe("unsupported");
  });

  it("change nothing where the helper fails or the file is broken", async () => {
    await writeHelper("bad", `echo ${canary} >&2; exit 1`);
    const config = { credsStore: "bad", auths: {} };
    await writeJson(".docker/config.json", config);
    const secret: Credential = { username: "u", password: canary };
    expect((await failure(storeCredential({ registry: "quay.io", credential: secret, env }))).code).toBe(
      "config-invalid",
    );
    expect(await written()).toEqual(config);
    await writeJson(".docker/config.json", `{"auths": ${canary}`);
    expect((await failure(storeCredential({ registry: "quay.io", credential: secret, env }))).code).toBe(
      "config-invalid",
    );
    expect(await readFile(path(), "utf8")).toBe(`{"auths": ${canary}`);
  });

  it("keep a symbolic link one and narrow a file that was open", async () => {
    const target = await writeJson("dotfiles/docker.json", { auths: {} }, 0o644);
    await mkdir(join(home, ".docker"));
    await symlink(target, path());
    await storeCredential({ registry: "quay.io", credential, env });
    expect((await lstat(path())).isSymbolicLink()).toBe(true);
    expect((await stat(target)).mode & 0o777).toBe(0o600);
  });

  it("lose nothing between writers at the same time", async () => {
    const hosts = Array.from({ length: 16 }, (_, index) => `r${index}.example`);
    await Promise.all(hosts.map((registry) => storeCredential({ registry, credential, env })));
    expect(Object.keys((await written()).auths as object).sort()).toEqual([...hosts].sort());
  });
});

describe("credentialSources", () => {
  it("names files, keys and helpers, and no value", async () => {
    await writeHelper("one", answering("u", canary));
    const docker = await writeJson(".docker/config.json", {
      credHelpers: { "quay.io": "one", "gone.io": "gone" },
      auths: {
        "quay.io": {},
        "https://quay.io/org": { auth: basic("u", canary) },
        "other.io": { auth: basic("u", canary) },
      },
    });
    const podman = await writeJson(".config/containers/auth.json", {
      auths: { "quay.io": { auth: basic("u", canary) } },
    });
    const sources = await credentialSources("quay.io", env);
    expect(sources).toEqual([
      { origin: docker, helper: "docker-credential-one", isInstalled: true, key: null },
      { origin: docker, helper: null, isInstalled: true, key: "https://quay.io/org" },
      { origin: podman, helper: null, isInstalled: true, key: "quay.io" },
    ]);
    expect(JSON.stringify(sources)).not.toContain(canary);
    expect(await credentialSources("gone.io", env)).toMatchObject([
      { helper: "docker-credential-gone", isInstalled: false },
    ]);
    expect(await credentialSources("none.io", env)).toEqual([]);
    expect(await helperLog()).toEqual([]);
  });
});
