import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { parse } from "smol-toml";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import { configPath, readConfigFile, writeConfigFile } from "./file.js";
import { updateFile } from "./update-file.js";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-file-"));
  path = join(folder, "lading", "config.toml");
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isLadingError(error)) return error.code;
    throw error;
  }
  return "nothing thrown";
}

describe("configPath", () => {
  it("is LADING_CONFIG, else in the XDG folder, else in ~/.config", () => {
    expect(configPath({ LADING_CONFIG: "/x/y.toml", HOME: "/h" })).toBe("/x/y.toml");
    expect(configPath({ XDG_CONFIG_HOME: "/x", HOME: "/h" })).toBe("/x/lading/config.toml");
    expect(configPath({ HOME: "/h" })).toBe("/h/.config/lading/config.toml");
  });
});

describe("writeConfigFile", () => {
  it("makes the file, for its owner alone", async () => {
    await writeConfigFile(path, { owner: "bob", clusters: { main: { registryUrl: "https://r.example" } } });
    expect(await readConfigFile(path)).toEqual({
      owner: "bob",
      clusters: { main: { registryUrl: "https://r.example" } },
    });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, "lading"))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, "lading"))).toEqual(["config.toml"]);
  });

  it("merges, removes with null, and keeps what it does not know", async () => {
    await mkdir(join(folder, "lading"));
    const before =
      'owner = "bob"\norg = "o"\nfuture = [1, 2]\nbig = 9007199254740993\nwhen = 1979-05-27T07:32:00Z\n[clusters.main]\nregistryUrl = "https://r.example"\nlater = "x"\n';
    await writeFile(path, before, { mode: 0o644 });
    await writeConfigFile(path, {
      org: null,
      cluster: "main",
      clusters: { main: { data: "/srv" }, two: { registryUrl: "http://localhost:1" } },
    });
    const text = await readFile(path, "utf8");
    expect(parse(text, { integersAsBigInt: "asNeeded" })).toMatchObject({
      owner: "bob",
      cluster: "main",
      future: [1, 2],
      big: 9007199254740993n,
      clusters: {
        main: { registryUrl: "https://r.example", later: "x", data: "/srv" },
        two: { registryUrl: "http://localhost:1" },
      },
    });
    expect(text).toContain("1979-05-27T07:32:00");
    expect(text).not.toContain("org");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it("writes nothing where the outcome would not be valid", async () => {
    await writeConfigFile(path, { owner: "bob" });
    const before = await readFile(path, "utf8");
    expect(await codeOf(writeConfigFile(path, { owner: "Not Valid" }))).toBe("config-invalid");
    expect(await codeOf(writeConfigFile(path, { clusters: { main: { registryUrl: "nonsense" } } }))).toBe(
      "config-invalid",
    );
    expect(await readFile(path, "utf8")).toBe(before);
    await writeFile(path, "= broken");
    expect(await codeOf(writeConfigFile(path, { owner: "eve" }))).toBe("config-invalid");
    expect(await readFile(path, "utf8")).toBe("= broken");
    expect(await readdir(join(folder, "lading"))).toEqual(["config.toml"]);
  });

  it("keeps a symbolic link one, also one whose target is yet to be made", async () => {
    await mkdir(join(folder, "lading"));
    await mkdir(join(folder, "dotfiles"));
    await symlink("../dotfiles/lading.toml", path);
    await writeConfigFile(path, { owner: "bob" });
    await writeConfigFile(path, { org: "o" });
    expect(await readlink(path)).toBe("../dotfiles/lading.toml");
    expect((await lstat(join(folder, "dotfiles", "lading.toml"))).isFile()).toBe(true);
    expect(await readConfigFile(path)).toEqual({ owner: "bob", org: "o" });
  });

  it("loses nothing between writers at the same time", async () => {
    const names = Array.from({ length: 20 }, (_, index) => `c${index}`);
    await Promise.all(
      names.map((name) => writeConfigFile(path, { clusters: { [name]: { registryUrl: "https://r.example" } } })),
    );
    const { clusters } = (await readConfigFile(path)) as { clusters: object };
    expect(Object.keys(clusters).sort()).toEqual(names.sort());
    expect(await readdir(join(folder, "lading"))).toEqual(["config.toml"]);
  });
});

describe("updateFile", () => {
  it("leaves the old or the new one when it is killed at any moment", async () => {
    const program = join(folder, "writer.mjs");
    const entry = fileURLToPath(new URL("./update-file.ts", import.meta.url));
    await build({ entryPoints: [entry], bundle: true, platform: "node", format: "esm", outfile: program });
    const file = join(folder, "data", "x.json");
    const loop = `
      import { updateFile } from ${JSON.stringify(program)};
      const change = (text) => {
        const { count, filler } = JSON.parse(text ?? '{"count":0}');
        return JSON.stringify({ count: count + 1, filler: "x".repeat(100_000) });
      };
      for (;;) { await updateFile(${JSON.stringify(file)}, change); process.stdout.write("."); }`;
    await writeFile(join(folder, "loop.mjs"), loop);
    let before = 0;
    for (let round = 0; round < 12; round += 1) {
      const child = spawn(process.execPath, [join(folder, "loop.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
      await once(child.stdout, "data");
      await delay(Math.random() * 20);
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      const { count, filler } = JSON.parse(await readFile(file, "utf8")) as { count: number; filler: string };
      expect(filler).toHaveLength(100_000);
      expect(count).toBeGreaterThan(before);
      before = count;
    }
    await updateFile(file, () => "done");
    expect(await readdir(join(folder, "data"))).toEqual(["x.json"]);
  });

  it("takes over the lock of a writer that was killed", async () => {
    const file = join(folder, "x.json");
    await writeFile(`${file}.lading-lock`, "");
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(`${file}.lading-lock`, longAgo, longAgo);
    await updateFile(file, () => "new");
    expect(await readFile(file, "utf8")).toBe("new");
    expect(await readdir(folder)).toEqual(["x.json"]);
  });

  it("frees the lock where the change fails, and leaves the file", async () => {
    const file = join(folder, "x.json");
    await updateFile(file, () => "old");
    await expect(updateFile(file, () => Promise.reject(new Error("no")))).rejects.toThrow();
    await updateFile(file, (current) => `${current}er`);
    expect(await readFile(file, "utf8")).toBe("older");
    await updateFile(file, () => null);
    expect(await readFile(file, "utf8")).toBe("older");
  });

  it("says io where the folder cannot be made", async () => {
    await writeFile(join(folder, "file"), "");
    expect(await codeOf(updateFile(join(folder, "file", "x.json"), () => "new"))).toBe("io");
  });

  it("refuses links in a circle", async () => {
    await symlink("b", join(folder, "a"));
    await symlink("a", join(folder, "b"));
    expect(await codeOf(updateFile(join(folder, "a"), () => "new"))).toBe("config-invalid");
  });
});
