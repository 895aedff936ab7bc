import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { version } from "../../src/version.js";
import { Machine, type Outcome, program } from "./machine.js";
import { conforms } from "./schema.js";

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.create();
});
afterEach(async () => {
  await machine.remove();
});

const lading = (...args: string[]) => machine.lading(args);

/** The value that a verb prints with `--json`, held to its schema. */
async function json(schema: string, ...args: string[]): Promise<Record<string, unknown>> {
  const outcome = await lading(...args, "--json");
  expect(outcome, args.join(" ")).toMatchObject({ code: 0 });
  expect(outcome.stdout.endsWith("\n")).toBe(true);
  return conforms(schema, JSON.parse(outcome.stdout)) as Record<string, unknown>;
}

/** The error of a failed `--json` run: stdout is empty, and the last line of stderr is the object. */
function errorOf({ stdout, stderr }: Outcome): Record<string, unknown> {
  expect(stdout).toBe("");
  const last = stderr.trimEnd().split("\n").at(-1) ?? "";
  return (conforms("error", JSON.parse(last)) as { error: Record<string, unknown> }).error;
}

describe("the main job, with nothing set up", () => {
  it("pushes, looks, pulls back and removes", async () => {
    const digest = await machine.putImage("app:1", { seed: 1, layers: 3 });
    const reference = `localhost:5050/alice/app@${digest}`;

    const pushed = await lading("push", "app:1");
    expect(pushed).toMatchObject({ code: 0, stdout: `${reference}\n` });
    expect(pushed.stderr).toContain("push app:1 -> image://local/alice/app:1");
    const again = await json("push", "push", "app:1", "image:app:2", "--tag", "latest");
    expect(again).toMatchObject({ reference, digest, tags: ["2", "latest"], bytesSent: 0, engine: "store" });

    expect((await lading("ls")).stdout).toBe("image://local/alice/app\n");
    expect((await lading("ls", "image:a*")).stdout).toBe("image://local/alice/app\n");
    expect(await json("ls", "ls")).toMatchObject({ cluster: "local", registry: "localhost:5050" });
    expect((await lading("tags", "image:app")).stdout.split("\n").sort()).toEqual(["", "1", "2", "latest"]);
    expect((await lading("tags", "image:app", "--full-ref", "--filter", "l*")).stdout).toBe(
      "localhost:5050/alice/app:latest\n",
    );
    const row = `${digest}\t`;
    expect((await lading("tags", "-l", "image:app")).stdout.split("\n")[0]).toContain(row);
    expect((await lading("info", "image:app:1")).stdout).toContain(`1\t${row}`);

    const size = await lading("size", "image:app:1");
    expect(size.stdout).toMatch(/^\d+\n$/);
    expect(await json("size", "size", "image:app:1")).toMatchObject({ size: Number(size.stdout), digest });
    expect((await lading("size", "--human", "image:app:1")).stdout).toMatch(/^\d+(\.\d)? k?B\n$/);
    expect((await lading("digest", "image:app:1")).stdout).toBe(`${digest}\n`);
    expect((await lading("digest", "localhost:5050/alice/app:1")).stdout).toBe(`${digest}\n`);

    const raw = await lading("inspect", "image:app:1", "--raw");
    const inspected = await json("inspect", "inspect", "image:app:1");
    expect(inspected.manifest).toEqual(JSON.parse(raw.stdout));
    for (const verb of ["tags", "info", "digest"]) {
      await json(verb, verb, verb === "tags" ? "image:app" : "image:app:1", ...(verb === "tags" ? ["-l"] : []));
    }

    expect(await lading("rmi", "app:1")).toMatchObject({ code: 0, stdout: "app:1\n" });
    expect((await lading("images")).stdout).toBe("");
    const pulled = await lading("pull", "image:app:1");
    expect(pulled).toMatchObject({ code: 0, stdout: "app:1\n" });
    expect(pulled.stderr).toContain("engine: store");
    expect(await json("pull", "pull", "image:app:2", "copy:1")).toMatchObject({ digest, local: "copy:1" });
    expect((await lading("images")).stdout.split("\n").sort()).toEqual(["", "app:1", "copy:1"]);
    expect(await json("images", "images", "app*")).toMatchObject({ images: [{ local: "app:1", digest }] });
    expect(await json("inspect", "inspect", "--local", "app:1")).toMatchObject({ digest });

    const dry = await json("rm", "rm", "--dry-run", "image:app:1");
    expect(dry).toMatchObject({ dryRun: true, removals: [{ digest, removes: "tag", removed: false }] });
    const removed = await lading("rm", "image:app:1");
    expect(removed).toMatchObject({ code: 0, stdout: `app:1@${digest}\n` });
    expect((await lading("tags", "image:app")).stdout.split("\n").sort()).toEqual(["", "2", "latest"]);
    expect(await json("rm", "rm", "--all-tags", "--yes", "image:app")).toMatchObject({ dryRun: false });
    expect((await lading("tags", "image:app", "--json")).stdout).not.toContain("latest");
  });

  it("copies, tags, saves and loads", async () => {
    const digest = await machine.putImage("app:1", { seed: 2 });
    await lading("push", "app:1");
    expect(await lading("copy", "image:app:1", "image:/bob/app:9")).toMatchObject({
      code: 0,
      stdout: `localhost:5050/bob/app@${digest}\n`,
    });
    expect(await json("copy", "copy", "image:app:1", "image:/bob/app:8")).toMatchObject({ digest, bytesSent: 0 });
    await json("tag", "tag", "app:1", "app:stable");
    const archive = join(machine.home, "app.tar");
    await json("save", "save", "app:1", "-o", archive);
    const streamed = await lading("save", "app:1", "--as", "oci-archive");
    expect(streamed.code).toBe(0);
    expect(streamed.stdout.length).toBeGreaterThan(1000);
    await json("rmi", "rmi", "app:1", "app:stable");
    expect(await json("load", "load", archive)).toMatchObject({ images: [{ local: "app:1" }] });
    await lading("rmi", "app:1");
    const input = await readFile(archive);
    expect(await machine.lading(["load"], { input })).toMatchObject({ code: 0, stdout: "app:1\n" });
  });

  it("makes an image of a folder and of its tar, the same", async () => {
    const folder = join(machine.home, "rootfs");
    await mkdir(folder);
    await writeFile(join(folder, "hello"), "hello\n");
    const first = await json("import", "import", folder, "base:1");
    const second = await lading("import", folder, "base:2");
    expect(second).toMatchObject({ code: 0, stdout: "base:2\n" });
    const lines = second.stderr.trimEnd().split("\n");
    expect(lines.map((line) => line.replace(/ \(.*/, ""))).toEqual(["layer: compressing", "layer: done"]);
    expect(await json("images", "images", "base:2")).toMatchObject({ images: [{ digest: first.digest }] });
  });
});

describe("failures", () => {
  it.each([
    [["push", "nothing:1"], 72, "not-found"],
    [["pull", "image:nothing:1"], 72, "not-found"],
    [["digest", "image:nothing:1"], 72, "not-found"],
    [["rmi", "nothing:1"], 72, "not-found"],
    [["rm", "image:nothing:1"], 72, "not-found"],
    [["digest", "image:UPPER"], 64, "bad-reference"],
    [["digest", "app:1"], 64, "bad-reference"],
    [["digest", "image://other/bob/app:1"], 64, "bad-reference"],
    [["digest", "localhost:1/bob/app:1"], 69, "unreachable"],
    [["--engine", "docker", "images"], 76, "engine-unavailable"],
    [["--config", "/nowhere.toml", "ls"], 78, "config-invalid"],
    [["ls", "app:1"], 64, "bad-reference"],
    [["ls", "image:app*:1"], 64, "bad-reference"],
    [["--platform", "linux/!", "images"], 64, "usage"],
    [["load", "/nowhere.tar"], 72, "not-found"],
  ] as const)("of %j end with %d", async (args, code, name) => {
    const env = { DOCKER_HOST: "unix:///nowhere/docker.sock" };
    const outcome = await machine.lading([...args, "--json"], { env });
    expect(errorOf(outcome)).toMatchObject({ code: name, exit: code });
    expect(outcome.code).toBe(code);
    const plain = await machine.lading([...args, "--quiet"], { env });
    expect(plain).toMatchObject({ code, stdout: "" });
    expect(plain.stderr).toMatch(/^lading: error: .+\n(hint: .+\n)?$/);
  });

  it("of several names keep what was done", async () => {
    await machine.putImage("app:1");
    await lading("push", "app:1");
    const outcome = await lading("rm", "image:gone:1", "image:app:1");
    expect(outcome.code).toBe(72);
    expect(outcome.stdout).toMatch(/^app:1@sha256:[0-9a-f]{64}\n$/);
    expect(await lading("rm", "--ignore-missing", "image:gone:1")).toMatchObject({ code: 0, stdout: "" });
  });
});

describe("progress in a pipe", () => {
  it("is JSON on request, every line of it", async () => {
    await machine.putImage("app:1", { layers: 3 });
    const { stderr, code } = await lading("push", "app:1", "--progress", "json");
    expect(code).toBe(0);
    const events = stderr
      .trimEnd()
      .split("\n")
      .map((line) => conforms("progress", JSON.parse(line)) as { type: string; status?: string; layerId?: string });
    expect(events.filter(({ type }) => type === "push")).toHaveLength(1);
    const ended = events.filter(({ status }) => status === "done" || status === "exists" || status === "mounted");
    expect(new Set(ended.map(({ layerId }) => layerId)).size).toBe(3);
    expect(ended).toHaveLength(3);
  });

  it("is plain by default, silent on request, and never coloured", async () => {
    await machine.putImage("app:1", { layers: 2 });
    const plain = await machine.lading(["push", "app:1"], { env: { FORCE_COLOR: "1" } });
    expect(plain.stderr.match(/: done/g)).toHaveLength(2);
    expect(plain.stderr + plain.stdout).not.toContain("\u001b");
    expect((await lading("push", "app:1", "--quiet")).stderr).toBe("");
    expect((await lading("push", "app:1", "--progress", "none")).stderr).not.toContain("exists");
  });
});

describe("the process", () => {
  it("prints the version and its help", async () => {
    expect(await lading("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect((await lading("--help")).stdout).toContain("Usage: lading");
    expect(((await stat(program)).mode & 0o111) !== 0).toBe(true);
  });

  it("ends quietly when nobody reads stdout any more", async () => {
    for (let index = 0; index < 3; index += 1) {
      const outcome = await machine.lading(["--help"], { onStart: (child) => child.stdout?.destroy() });
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
    }
  });

  it("keeps its configuration in a file", async () => {
    const set = (...args: string[]) => json(`config-${args[0]}`, "config", ...args);
    await set("set", "clusters.main.registryUrl", "https://registry.main.example");
    await set("use", "main");
    expect(await set("get", "cluster")).toMatchObject({ value: "main" });
    expect((await lading("config", "get", "clusters.main.registryUrl")).stdout).toBe("https://registry.main.example\n");
    expect((await lading("config", "get", "nothing")).code).toBe(64);
    expect((await lading("config", "use", "nowhere")).code).toBe(78);
    expect((await lading("config", "set", "engine", "rkt")).code).toBe(78);
    expect((await lading("config", "set", "nothing", "x")).code).toBe(64);
    await set("set", "timeout", "10m");
    await set("set", "progress", "plain");
    expect(await set("get", "timeout")).toMatchObject({ value: 600 });
    expect((await lading("config", "get", "progress", "--progress", "none")).stdout).toBe("none\n");
    expect((await lading("config", "set", "progress", "loud")).code).toBe(78);
    conforms("config-show", await set("show"));
    const file = join(machine.home, ".config", "lading", "config.toml");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it("says what doctor found", async () => {
    const outcome = await lading("doctor", "--json");
    const value = conforms("doctor", JSON.parse(outcome.stdout)) as { ok: boolean; version: string };
    expect(value.version).toBe(version);
    expect(value.ok).toBe(outcome.code === 0);
  });

  it.each(["bash", "zsh", "fish", "powershell"])("prints a completion script for %s", async (shell) => {
    expect((await lading("completion", shell)).stdout).toContain("lading complete --");
  });
});

describe("serve", () => {
  it("prints its URL once it accepts, and ends with 0 on SIGTERM", async () => {
    let url = "";
    const outcome = await machine.lading(["serve", "--port", "0"], {
      onStart: (child) => {
        child.stdout?.on("data", (chunk: Buffer) => {
          url = chunk.toString().trim();
          fetch(`${url}/v2/`).then(
            (response) => child.kill(response.status === 200 ? "SIGTERM" : "SIGKILL"),
            () => child.kill("SIGKILL"),
          );
        });
      },
    });
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/^http:\/\/localhost:\d+\n$/);
  });

  it("says who holds the folder where the port is that server's too", async () => {
    let second: Outcome | null = null;
    await machine.lading(["serve", "--port", "0"], {
      onStart: (child) => {
        child.stdout?.once("data", (chunk: Buffer) => {
          const { port } = new URL(chunk.toString().trim());
          lading("serve", "--port", port, "--json").then(
            (outcome) => {
              second = outcome;
              child.kill("SIGTERM");
            },
            () => child.kill("SIGKILL"),
          );
        });
      },
    });
    expect(second).toMatchObject({ code: 73 });
    expect(errorOf(second ?? { code: null, stdout: "", stderr: "" })).toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/^process \d+ serves /),
    });
  });

  it.each([
    [[], 400],
    [["--sparse"], 201],
  ] as const)("with %j takes a manifest without its content: %i", async (flags, expected) => {
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const child = { mediaType, digest: `sha256:${"0".repeat(64)}`, size: 3 };
    let status = 0;
    await machine.lading(["serve", "--port", "0", ...flags], {
      onStart: (server) => {
        server.stdout?.once("data", (chunk: Buffer) => {
          fetch(`${chunk.toString().trim()}/v2/a/manifests/v1`, {
            method: "PUT",
            headers: { "content-type": mediaType },
            body: JSON.stringify({ schemaVersion: 2, mediaType, manifests: [child] }),
          }).then(
            (response) => {
              ({ status } = response);
              server.kill("SIGTERM");
            },
            () => server.kill("SIGKILL"),
          );
        });
      },
    });
    expect(status).toBe(expected);
  });

  it("refuses to be reached by others unless told to", async () => {
    expect((await lading("serve", "--host", "0.0.0.0", "--port", "0")).code).toBe(64);
  });
});
