/** Longer than other tests: each key has its row, from each of the sources that it may come from. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isLadingError, type LadingError } from "../errors.js";
import { Parser } from "../image/parser.js";
import { type ClusterConfig, type ConfigInput, type LoadConfigOptions, loadConfig, nameContext } from "./config.js";
import type { System } from "./folders.js";

let home: string;
const system = (userName: string | null = "alice"): System => ({
  homeDirectory: () => "/nowhere",
  userName: () => userName,
  platform: "linux",
});

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "lading-config-"));
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

async function writeToml(text: string): Promise<string> {
  const path = join(home, ".config", "lading", "config.toml");
  await mkdir(join(home, ".config", "lading"), { recursive: true });
  await writeFile(path, text);
  return path;
}

async function load(options: Partial<LoadConfigOptions> & { user?: string | null } = {}) {
  const { env, user, ...rest } = options;
  return await loadConfig({ system: system(user), ...rest, env: { HOME: home, ...env } });
}

async function failure(work: Promise<unknown>): Promise<LadingError> {
  try {
    await work;
  } catch (error) {
    if (isLadingError(error)) return error;
    throw error;
  }
  throw new Error("nothing thrown");
}

describe("without a configuration", () => {
  it("is the cluster local, its folder, and the system user", async () => {
    const config = await load();
    const data = join(home, ".local", "share", "lading");
    expect(config).toEqual({
      clusters: { local: { registryUrl: "http://localhost:5050", data: join(data, "registry") } },
      cluster: "local",
      owner: "alice",
      org: null,
      insecure: [],
      ca: null,
      engine: "auto",
      store: join(data, "store"),
      platform: null,
      concurrency: { transfers: 4, blobs: 4, perHost: 16, exports: 1 },
      cacheLimit: null,
      limitRate: null,
      timeout: null,
      progress: "auto",
    });
    expect(Object.isFrozen(config) && Object.isFrozen(config.clusters) && Object.isFrozen(config.clusters.local)).toBe(
      true,
    );
    expect(Object.isFrozen(config.concurrency) && Object.isFrozen(config.insecure)).toBe(true);
    expect(new Parser(nameContext(config)).remoteImage("image:app:1").asDockerUrl(true)).toBe(
      "http://localhost:5050/alice/app:1",
    );
  });

  it("keeps to the XDG folders, and ignores relative ones as their specification says", async () => {
    const data = join(home, "data");
    expect((await load({ env: { XDG_DATA_HOME: data } })).store).toBe(join(data, "lading", "store"));
    expect((await load({ env: { XDG_DATA_HOME: "data" } })).store).toBe(
      join(home, ".local", "share", "lading", "store"),
    );
    const config = join(home, "conf");
    await mkdir(join(config, "lading"), { recursive: true });
    await writeFile(join(config, "lading", "config.toml"), 'owner = "bob"');
    expect((await load({ env: { XDG_CONFIG_HOME: config } })).owner).toBe("bob");
  });

  it.each([
    ["Alice", "alice"],
    ["John Doe", "john-doe"],
    ["CORP\\jdoe", "corp-jdoe"],
    ["_apt", "apt"],
    ["a..b", "a-b"],
    ["john.doe", "john.doe"],
    ["x".repeat(300), "x".repeat(64)],
    ["Jürgen", "j-rgen"],
  ])("takes the system user %s as the owner %s", async (user, owner) => {
    expect((await load({ user })).owner).toBe(owner);
  });

  it("takes a variable where the system has no name, and something where there is none", async () => {
    expect((await load({ user: null, env: { USER: "Bob" } })).owner).toBe("bob");
    expect((await load({ user: "日本" })).owner).toBe("user");
    expect((await load({ user: null })).owner).toBe("user");
  });
});

describe("flag over environment over file", () => {
  it("each setting is taken from the highest that has it", async () => {
    await writeToml(`
      cluster = "main"
      owner = "fiona"
      org = "file-org"
      engine = "podman"
      store = "stores/one"
      insecure = ["File.lan:5000"]
      ca = "~/corp.pem"
      platform = "linux/arm64"
      progress = "plain"
      timeout = "10m"
      cacheLimit = "5G"
      limitRate = "5M"
      concurrency = { blobs = 2 }
      [clusters.main]
      registryUrl = "https://registry.main.example/"
      authHosts = ["Auth.main.example"]
      [clusters.other]
      registryUrl = "https://registry.other.example"
    `);
    const folder = join(home, ".config", "lading");
    const fromFile = await load();
    expect(fromFile).toMatchObject({
      cluster: "main",
      owner: "fiona",
      org: "file-org",
      engine: "podman",
      store: join(folder, "stores", "one"),
      insecure: ["file.lan:5000"],
      ca: join(home, "corp.pem"),
      platform: "linux/arm64",
      progress: "plain",
      timeout: 600_000,
      cacheLimit: 5e9,
      limitRate: 5e6,
      concurrency: { transfers: 4, blobs: 2, perHost: 16, exports: 1 },
    });
    expect(fromFile.clusters.main).toEqual({
      registryUrl: "https://registry.main.example",
      authHosts: ["auth.main.example"],
    });
    expect(Object.keys(fromFile.clusters).sort()).toEqual(["local", "main", "other"]);

    const env = {
      LADING_CLUSTER: "other",
      LADING_OWNER: "erin",
      LADING_ORG: "env-org",
      LADING_ENGINE: "store",
      LADING_STORE: "/env/store",
      LADING_INSECURE: "a.lan:1, b.lan",
      LADING_CA_FILE: "/env/ca.pem",
      LADING_PLATFORM: "arm64",
      LADING_PROGRESS: "json",
      LADING_TIMEOUT: "90",
      LADING_LIMIT_RATE: "500k",
    };
    expect(await load({ env })).toMatchObject({
      cluster: "other",
      owner: "erin",
      org: "env-org",
      engine: "store",
      store: "/env/store",
      insecure: ["a.lan:1", "b.lan"],
      ca: "/env/ca.pem",
      platform: "linux/arm64",
      progress: "json",
      timeout: 90_000,
      limitRate: 500_000,
    });
    expect(await load({ env, overrides: { limitRate: 0 } })).toMatchObject({ limitRate: null });

    const overrides = {
      cluster: "local",
      owner: "flo",
      org: "flag-org",
      platform: "all",
      insecure: ["c.lan"],
      ca: "/f.pem",
      timeout: "1s",
    };
    expect(
      await load({ env, engine: "docker", storePath: "/flag/store", concurrency: { blobs: 9 }, overrides }),
    ).toMatchObject({
      cluster: "local",
      owner: "flo",
      org: "flag-org",
      engine: "docker",
      store: "/flag/store",
      insecure: ["c.lan"],
      ca: "/f.pem",
      platform: "all",
      timeout: 1000,
      concurrency: { transfers: 4, blobs: 9, perHost: 16, exports: 1 },
    });
    const nothing = { cluster: null, owner: undefined, insecure: null };
    expect(await load({ env, overrides: nothing, engine: null, storePath: null })).toMatchObject({
      cluster: "other",
      owner: "erin",
    });
  });

  it("an empty variable is none", async () => {
    await writeToml('owner = "fiona"');
    expect((await load({ env: { LADING_OWNER: "", LADING_ENGINE: "", LADING_INSECURE: "" } })).owner).toBe("fiona");
  });

  it("LADING_CONFIG names the file, an option another one", async () => {
    await writeToml('owner = "fiona"');
    const [one, two] = [join(home, "one.toml"), join(home, "two.toml")];
    await writeFile(one, 'owner = "one"');
    await writeFile(two, 'owner = "two"');
    expect((await load({ env: { LADING_CONFIG: one } })).owner).toBe("one");
    expect((await load({ env: { LADING_CONFIG: one }, configPath: two })).owner).toBe("two");
    expect((await load({ env: { LADING_CONFIG: join(home, "none.toml") } })).owner).toBe("alice");
    expect((await failure(load({ configPath: join(home, "none.toml") }))).code).toBe("config-invalid");
  });
});

describe("clusters", () => {
  it("the file may say where local is", async () => {
    await writeToml('[clusters.local]\ndata = "/srv/lading"');
    expect((await load()).clusters.local).toEqual({ registryUrl: "http://localhost:5050", data: "/srv/lading" });
    await writeToml('[clusters.local]\nregistryUrl = "http://localhost:6000"');
    expect((await load()).clusters.local).toEqual({ registryUrl: "http://localhost:6000" });
  });

  it("only local has an owner by default", async () => {
    await writeToml('cluster = "main"\n[clusters.main]\nregistryUrl = "https://r.example"');
    expect((await load()).owner).toBeNull();
    expect((await load({ overrides: { cluster: "local" } })).owner).toBe("alice");
    expect((await load({ env: { LADING_OWNER: "bob" } })).owner).toBe("bob");
  });

  it("LADING_REGISTRY_URL is the current cluster's URL and defines it", async () => {
    const env = { LADING_REGISTRY_URL: "http://localhost:7000/" };
    // Another registry than the embedded one: its folder is none of it.
    expect((await load({ env })).clusters).toEqual({ local: { registryUrl: "http://localhost:7000" } });
    const defined = await load({ env: { ...env, LADING_CLUSTER: "ci", LADING_OWNER: "bot" } });
    expect(defined.clusters.ci).toEqual({ registryUrl: "http://localhost:7000" });
    expect(defined.clusters.local?.data).toBe(join(home, ".local", "share", "lading", "registry"));
    const same = await load({ env: { LADING_REGISTRY_URL: "http://localhost:5050" } });
    expect(same.clusters.local?.data).not.toBeUndefined();
    await writeToml(
      'cluster = "main"\nowner = "o"\n[clusters.main]\nregistryUrl = "https://r.example"\nauthHosts = ["a.example"]',
    );
    expect((await load({ env })).clusters.main).toEqual({ registryUrl: "http://localhost:7000" });
  });

  it("a current cluster that nobody defined is config-invalid", async () => {
    expect((await failure(load({ env: { LADING_CLUSTER: "nowhere" } }))).code).toBe("config-invalid");
    expect((await failure(load({ overrides: { cluster: "constructor" } }))).code).toBe("config-invalid");
  });
});

describe("the config option", () => {
  const main: ClusterConfig = { registryUrl: "https://r.example" };

  it("replaces file and variables wholly", async () => {
    await writeToml(
      'owner = "fiona"\norg = "o"\nengine = "podman"\ninsecure = ["x.lan"]\n[clusters.filed]\nregistryUrl = "https://f.example"',
    );
    const env = {
      LADING_OWNER: "erin",
      LADING_ENGINE: "store",
      LADING_REGISTRY_URL: "http://localhost:1",
      LADING_CONFIG: "/none",
    };
    const config = await load({ env, config: { clusters: { main }, cluster: "main", owner: "carol" } });
    expect(config).toMatchObject({ cluster: "main", owner: "carol", org: null, engine: "auto", insecure: [] });
    expect(config.clusters).toEqual({ main });
  });

  it("without clusters has the default one", async () => {
    for (const clusters of [undefined, null, {}]) {
      const config = await load({ config: { clusters } });
      expect(config).toMatchObject({ cluster: "local", owner: "alice" });
      expect(config.clusters).toEqual((await load()).clusters);
    }
  });

  it("does not look at a broken file", async () => {
    await writeToml("= broken");
    expect((await load({ config: {} })).cluster).toBe("local");
    expect((await failure(load())).code).toBe("config-invalid");
  });

  it("takes a registry as a value", async () => {
    const registry = { fetch: () => Promise.reject(new Error("not called")) };
    const config = await load({ config: { clusters: { local: { registryUrl: "http://localhost:1", registry } } } });
    expect(config.clusters.local?.registry).toBe(registry);
    expect(Object.isFrozen(registry)).toBe(false);
  });

  it("takes the only cluster, or local, as the current one, and else asks", async () => {
    expect((await load({ config: { clusters: { main } } })).cluster).toBe("main");
    expect((await load({ config: { clusters: { main, local: main } } })).cluster).toBe("local");
    expect((await failure(load({ config: { clusters: { main, other: main } } }))).code).toBe("config-invalid");
    expect((await failure(load({ config: { cluster: "main" } }))).code).toBe("config-invalid");
  });

  it("is under what flags and options say", async () => {
    const config = { clusters: { main, other: main }, cluster: "main", owner: "carol", engine: "docker" } as const;
    const overrides = { cluster: "other", owner: "flo" };
    expect(await load({ config, overrides, engine: "store" })).toMatchObject({
      cluster: "other",
      owner: "flo",
      engine: "store",
    });
  });
});

describe("validation", () => {
  const wrong: readonly (readonly [key: string, toml: string])[] = [
    ["cluster", 'cluster = "a/b"'],
    ["owner", 'owner = "Al ice"'],
    ["owner", "owner = 7"],
    ["org", 'org = "A"'],
    ["engine", 'engine = "dokcer"'],
    ["store", "store = true"],
    ["ca", 'ca = ""'],
    ["insecure", 'insecure = ["https://x.lan"]'],
    ["insecure", "insecure = 5"],
    ["platform", 'platform = "a/b/c/d"'],
    ["progress", 'progress = "loud"'],
    ["timeout", 'timeout = "soon"'],
    ["timeout", "timeout = 0"],
    ["cacheLimit", 'cacheLimit = "much"'],
    ["cacheLimit", "cacheLimit = -1"],
    ["limitRate", 'limitRate = "5M/s"'],
    ["limitRate", "limitRate = -1"],
    ["concurrency", "concurrency = 4"],
    ["concurrency.blobs", "concurrency = { blobs = 0 }"],
    ["concurrency.perHost", 'concurrency = { perHost = "4" }'],
    ["clusters", "clusters = 1"],
    ["clusters.main", "clusters = { main = 1 }"],
    ["clusters.main.registryUrl", "[clusters.main]"],
    ["clusters.main.registryUrl", '[clusters.main]\nregistryUrl = "ftp://x.example"'],
    ["clusters.main.registryUrl", '[clusters.main]\nregistryUrl = "https://user:CANARY@x.example"'],
    ["clusters.main.registryUrl", '[clusters.main]\nregistryUrl = "https://x.example/v2"'],
    ["clusters.main.data", '[clusters.main]\nregistryUrl = "https://x.example"\ndata = 1'],
    ["clusters.main.authHosts", '[clusters.main]\nregistryUrl = "https://x.example"\nauthHosts = ["https://a"]'],
  ];
  it.each(wrong)("names file and key: %s in %s", async (key, toml) => {
    const path = await writeToml(toml);
    const error = await failure(load());
    expect(error.code).toBe("config-invalid");
    expect(error.message).toContain(`${path}: ${key} `);
    expect(error.hint).toMatch(/^expected /);
    expect(JSON.stringify(error)).not.toContain("CANARY");
    expect(error.cause).toBeUndefined();
  });

  it("a broken file is named with the place and nothing of its content", async () => {
    const path = await writeToml('owner = "x"\nregistryUrl = https://user:CANARY@x.example\n');
    const error = await failure(load());
    expect(error.code).toBe("config-invalid");
    expect(error.message).toContain(path);
    expect(error.message).toContain("line 2");
    expect(`${error.stack} ${error.hint} ${String(error.cause)}`).not.toContain("CANARY");
  });

  it("a file that is none, or too long, is config-invalid", async () => {
    await mkdir(join(home, "folder.toml"));
    expect((await failure(load({ configPath: join(home, "folder.toml") }))).code).toBe("config-invalid");
    await writeFile(join(home, "long.toml"), `# ${"x".repeat(1024 * 1024)}`);
    expect((await failure(load({ configPath: join(home, "long.toml") }))).code).toBe("config-invalid");
  });

  it.each([
    "LADING_CLUSTER",
    "LADING_OWNER",
    "LADING_ORG",
    "LADING_ENGINE",
    "LADING_PLATFORM",
    "LADING_PROGRESS",
    "LADING_TIMEOUT",
    "LADING_LIMIT_RATE",
    "LADING_INSECURE",
    "LADING_REGISTRY_URL",
  ])("names the variable: %s", async (name) => {
    const error = await failure(load({ env: { [name]: "Not / valid!" } }));
    expect(error.code).toBe("config-invalid");
    expect(error.message).toContain(name);
  });

  it("what a flag says is a matter of usage, what the option says of the configuration", async () => {
    expect((await failure(load({ overrides: { owner: "Al ice" } }))).code).toBe("usage");
    expect((await failure(load({ engine: "dokcer" as "docker" }))).code).toBe("usage");
    expect((await failure(load({ concurrency: { blobs: 0 } }))).code).toBe("usage");
    const error = await failure(load({ config: { clusters: { main: {} } } as unknown as ConfigInput }));
    expect(error.code).toBe("config-invalid");
    expect(error.message).toContain("config.clusters.main.registryUrl");
    const registry = { fetch: 1 } as unknown as NonNullable<ClusterConfig["registry"]>;
    const clusters = { local: { registryUrl: "http://localhost:1", registry } };
    expect((await failure(load({ config: { clusters } }))).code).toBe("config-invalid");
  });

  it("unknown keys are let be", async () => {
    await writeToml('owner = "bob"\ncolour = "blue"\n[clusters.main]\nregistryUrl = "https://x.example"\nfuture = 1');
    expect((await load()).owner).toBe("bob");
  });
});
