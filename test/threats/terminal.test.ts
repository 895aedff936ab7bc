import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { buildProgram } from "../../src/cli/program.js";
import { run } from "../../src/cli/run.js";
import type { ErrorCode } from "../../src/errors.js";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { failureOf } from "../cli/failure.js";
import { Machine } from "../cli/machine.js";
import { startFakeEngine } from "../support/fake-engine.js";
import { RecordedStream, recordedIo } from "../support/recorded-io.js";
import { on } from "../support/scripted-registry.js";
import { sendEndlessly } from "./endless.js";
import { imageParts, serveBlob, serveManifest } from "./hostile-image.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
let machine: Machine;
beforeEach(async () => {
  machine = await Machine.create();
});
afterEach(async () => {
  await machine.remove();
});

/** A title for the window, a cleared screen, a line that is written over, turned text, and what nobody sees. */
const evil = "\u001b]0;pwned\u0007\u001b[2J\r\u202e\u200b\u009b31m\u007f\u0000\ufeff\u2028x";
/** All that our own renderer sends. */
const own = /\u001b\[(?:\d+A|J|\?25[hl]|\?2026[hl]|\d*m)/g;
const steering = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;

/** One run on a terminal of its own, as the command line itself would be. */
async function onTerminal(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const [stdout, stderr] = [new RecordedStream({ isTTY: true }), new RecordedStream({ isTTY: true })];
  const io = recordedIo({ env: { ...machine.env, ...env }, stdout, stderr });
  const code = await run(args, io);
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** Nothing steers the terminal but what our renderer says: its carriage return comes with a cursor movement. */
function isCalm(text: string): void {
  expect(text.replace(/\r(?=\u001b\[\d+A)/g, "").replace(own, "")).not.toMatch(steering);
}

threat("B15", "what a registry says steers no terminal: names, messages, warnings, realms, labels", async () => {
  const registry = await stage.registry();
  const { configDocument, layer } = imageParts(registry);
  const config = serveBlob(registry, mediaTypes.ociConfig, {
    ...configDocument,
    author: evil,
    created: evil,
    os: `linux${evil}`,
    config: { Labels: { [evil]: evil }, Env: [evil], Cmd: [evil] },
    history: [{ created_by: evil, comment: evil }],
  });
  const annotations = { [evil]: evil, "org.opencontainers.image.title": evil };
  const image = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer], annotations };
  const entry = serveManifest(registry, mediaTypes.ociManifest, image, "v1");
  const platform = { os: evil, architecture: evil, variant: evil };
  const index = { schemaVersion: 2, manifests: [{ ...entry, platform, annotations }], annotations };
  serveManifest(registry, mediaTypes.ociIndex, index, "index");
  const send = (status: number, body: unknown) => (exchange: { send: (...args: never[]) => void }) =>
    (exchange.send as (status: number, headers: object, body: string) => void)(status, {}, JSON.stringify(body));
  registry.handlers.push(
    (exchange) => {
      // Headers are Latin-1: what of the rest fits.
      exchange.response.setHeader("warning", `299 - "${evil.replace(/[^\u0080-\u00ff\u0020-\u007e]/g, "")}\u009b2J"`);
      return false;
    },
    on("GET", /\/a\/b\/tags\/list/, send(200, { name: evil, tags: ["v1", "index", evil, `v${evil}`] })),
    on("GET", /_catalog/, send(200, { repositories: ["a/b", evil] })),
    on("HEAD", /\/denied\//, (exchange) => exchange.send(403)),
    on("GET", /\/denied\//, send(403, { errors: [{ code: evil, message: evil, detail: evil }] })),
    on("GET", /\/realm\//, (exchange) =>
      exchange.send(401, { "www-authenticate": `Bearer realm="http://\u009b2J.example/",service="\u009b2J"` }),
    ),
    on("GET", /\/location\/.*\/blobs\//, (exchange) => exchange.send(307, { location: "http://x\u009b2J.example/" })),
  );
  const at = (path: string) => `${registry.host}/${path}`;
  for (const args of [
    ["tags", at("a/b")],
    ["tags", "-l", at("a/b")],
    ["ls", "--registry", registry.host],
    ["ls", "-l", "--registry", registry.host],
    ["inspect", at("a/b:v1")],
    ["inspect", at("a/b:index")],
    ["inspect", "--raw", at("a/b:v1")],
    ["info", at("a/b:index")],
    ["size", at("a/b:v1")],
    ["pull", at("a/b:v1"), "back:1"],
    ["pull", at("a/b:index"), "back:2"],
    ["pull", at("a/b:index"), "back:3", "--platform", "all"],
    ["copy", at("a/b:v1"), "image:copy:1"],
    ["tags", at("denied/b")],
    ["tags", at("realm/b")],
    ["digest", at(`a/b:${evil}`)],
    [evil],
    ["push", "app:1", `--${evil}`],
  ]) {
    for (const more of [
      ["--debug", "--progress", "plain"],
      ["--progress", "tty"],
      ["--json", "--debug"],
    ]) {
      const outcome = await onTerminal([...args, ...more]);
      expect(outcome.stdout + outcome.stderr, args.join(" ")).not.toBe("");
      isCalm(outcome.stdout);
      isCalm(outcome.stderr);
    }
  }
});

threat("B15", "JSON that is printed is exact", async () => {
  const registry = await stage.registry();
  const { manifest } = imageParts(registry);
  const annotations = { title: evil };
  serveManifest(registry, mediaTypes.ociManifest, { ...manifest, annotations }, "v1");
  const { stdout, code } = await machine.lading(["inspect", `${registry.host}/a/b:v1`, "--json"]);
  expect(code).toBe(0);
  expect(JSON.stringify(JSON.parse(stdout))).toContain(JSON.stringify(evil));
  expect(stdout).not.toMatch(steering);
  const raw = await machine.lading(["inspect", "--raw", `${registry.host}/a/b:v1`]);
  expect(digestOf(raw.stdout)).toBe(digestOf(JSON.stringify({ ...manifest, annotations })));
});

threat("B15", "what an engine and an archive say steers no terminal either", async () => {
  const engine = stage.keep(await startFakeEngine());
  await machine.putImage("app:1");
  expect(await machine.lading(["save", "app:1", "-o", "app.tar"])).toMatchObject({ code: 0 });
  const env = { DOCKER_HOST: `unix://${engine.socketPath}` };
  const archive = join(machine.home, "app.tar");
  for (const line of [
    { id: evil, status: evil, progress: evil, progressDetail: { current: 1, total: 2 } },
    { stream: evil },
    { error: evil, errorDetail: { message: evil } },
  ]) {
    engine.answers.set("POST /images/load", async (request, response) => {
      for await (const _ of request);
      response.writeHead(200).end(`${JSON.stringify(line)}\n`);
    });
    for (const progress of ["plain", "tty"]) {
      const outcome = await onTerminal(["load", archive, "--engine", "docker", "--debug", "--progress", progress], env);
      expect(outcome.code).not.toBe(0);
      isCalm(outcome.stdout + outcome.stderr);
    }
  }
  engine.answers.set("GET /images/json", {
    json: [{ Id: digestOf("x"), RepoTags: [evil, `app:${evil}`], Labels: { [evil]: evil } }],
  });
  for (const args of [["images"], ["images", "-l"], ["rmi", "app:1", "--yes"], ["doctor"]]) {
    isCalm(Object.values(await onTerminal([...args, "--engine", "docker"], env)).join(""));
  }
  // The name of an entry of an archive.
  const bytes = await readFile(archive);
  bytes.write(evil.slice(0, 40), 0, "utf8");
  await writeFile(join(machine.home, "evil.tar"), bytes);
  const outcome = await onTerminal(["load", join(machine.home, "evil.tar"), "--debug"]);
  expect(outcome.code).not.toBe(0);
  isCalm(outcome.stdout + outcome.stderr);
});

threat("B16", "warnings of a registry are shown up to their bound, whatever they say, and change nothing", async () => {
  const registry = await stage.registry();
  serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1");
  const many = Array.from({ length: 1000 }, (_, number) => `299 - "warning ${number} ${"x".repeat(80)}"`).join(", ");
  for (const [header, shown] of [
    [many, true],
    [`299 - "${"y".repeat(100_000)}"`, false],
    ['199 - "forged", 214 - "forged", 299 "forged", 299 agent "forged"', false],
    [`299 - "${"\u009b2J\u0085".repeat(1500)}"`, false],
    ['299 - "delete everything: lading rm --yes"', true],
  ] as const) {
    registry.handlers.splice(0, registry.handlers.length, (exchange) => {
      exchange.response.setHeader("warning", header);
      return false;
    });
    const { code, stdout, stderr } = await machine.lading(["digest", `${registry.host}/a/b:v1`]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^sha256:/) });
    const lines = stderr.split("\n").filter((line) => line.startsWith("warning:"));
    expect(lines.length > 0).toBe(shown);
    const texts = lines.map((line) => line.slice(line.indexOf(" says: ") + 7));
    expect(Buffer.byteLength(texts.join(""))).toBeLessThanOrEqual(4096);
    expect(new Set(texts).size).toBe(texts.length);
    expect(stderr).not.toMatch(/forged/);
    expect(stderr).not.toMatch(steering);
  }
});

threat("B17", "a pipe gets no escape code from any command", async () => {
  const registry = await stage.registry();
  serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1");
  registry.handlers.push(on("GET", /\/tags\/list/, (exchange) => exchange.send(200, {}, '{"tags":["v1"]}')));
  await machine.putImage("app:1");
  const at = `${registry.host}/a/b:v1`;
  for (const args of [
    ["push", "app:1"],
    ["pull", at, "back:1"],
    ["copy", at, "image:copy:1"],
    ["tags", "-l", `${registry.host}/a/b`],
    ["ls", "-l"],
    ["images", "-l"],
    ["inspect", at],
    ["doctor"],
    ["digest", `${registry.host}/a/b:none`],
  ]) {
    for (const color of [{}, { FORCE_COLOR: "1", CLICOLOR_FORCE: "1", TERM: "xterm-256color" }]) {
      const { stdout, stderr } = await machine.lading(args, { env: color });
      expect(stdout + stderr, args.join(" ")).not.toBe("");
      expect(stdout + stderr, args.join(" ")).not.toContain("\u001b");
    }
  }
  // Every verb there is, by its help and by what it says of a wrong flag.
  const verbs: string[][] = [];
  const collect = (command: ReturnType<typeof buildProgram>, path: readonly string[]) => {
    for (const child of command.commands) {
      verbs.push([...path, child.name()]);
      collect(child, [...path, child.name()]);
    }
  };
  collect(
    buildProgram(recordedIo(), async () => undefined),
    [],
  );
  expect(verbs.length).toBeGreaterThan(20);
  for (const verb of verbs) {
    for (const more of ["--help", "--no-such-flag"]) {
      const io = recordedIo({ env: { ...machine.env, FORCE_COLOR: "1" } });
      await run([...verb, more], io);
      expect(io.stdout.text + io.stderr.text, verb.join(" ")).not.toBe("");
      expect(io.stdout.text + io.stderr.text, verb.join(" ")).not.toContain("\u001b");
    }
  }
});

threat("B18", "an engine's stream that has no end, is cut, or fails after it said yes is a typed error", async () => {
  const engine = stage.keep(await startFakeEngine());
  await machine.putImage("app:1");
  expect(await machine.lading(["save", "app:1", "-o", "app.tar"])).toMatchObject({ code: 0 });
  const load = () =>
    machine.lading(["load", "app.tar", "--engine", "docker", "--json"], {
      env: { DOCKER_HOST: `unix://${engine.socketPath}` },
    });
  let sent = 0;
  const done = '{"stream":"Loaded image: app:1"}\n';
  const streams: readonly (readonly [write: (response: ServerResponse) => unknown, code: ErrorCode])[] = [
    [
      async (response) => {
        sent = await sendEndlessly(response, Buffer.alloc(64 * 1024, "x"), '{"stream":"');
      },
      "limit-exceeded",
    ],
    [(response) => response.write(`${done}{"stream":"Loa`, () => response.destroy()), "engine-failed"],
    [(response) => response.end(`${done}{"stream":"Loa`), "engine-failed"],
    [(response) => response.end(`${done}{"unknown":[{}],"error":"no more"}\n`), "engine-failed"],
    [(response) => response.end(`${done}{"error":"write /x: no space left on device"}\n`), "no-space"],
  ];
  for (const [write, code] of streams) {
    engine.answers.set("POST /images/load", async (request, response) => {
      for await (const _ of request);
      response.writeHead(200);
      await write(response);
    });
    expect(failureOf(await load())).toMatchObject({ code });
  }
  expect(sent).toBeLessThan(20_000_000);
});

threat("B9", "labels and annotations are data: they name no file, run nothing, and set no flag", async () => {
  const registry = await stage.registry();
  const outside = join(machine.home, "..", `canary-${machine.home.split("-").at(-1)}`);
  const names = [
    "../escape",
    "../../../../tmp/escape",
    outside,
    "C:\\escape",
    "\\\\host\\share",
    "--force",
    "-o",
    "$(touch escape)",
    "a;touch escape",
  ];
  const { manifest, configDocument } = imageParts(registry);
  for (const name of names) {
    const annotations = Object.fromEntries(
      [
        "org.opencontainers.image.title",
        "org.opencontainers.image.ref.name",
        "io.containerd.image.name",
        "org.opencontainers.image.url",
        "com.docker.official-images.bashbrew.arch",
      ].map((key) => [key, name]),
    );
    const config = serveBlob(registry, mediaTypes.ociConfig, {
      ...configDocument,
      config: { Labels: annotations, Cmd: [name], WorkingDir: name, Volumes: { [name]: {} } },
    });
    const [layer] = manifest.layers;
    serveManifest(
      registry,
      mediaTypes.ociManifest,
      { ...manifest, config, layers: [{ ...layer, annotations }], annotations },
      "v1",
    );
    expect(await machine.lading(["pull", `${registry.host}/a/b:v1`, "back:1"]), name).toMatchObject({ code: 0 });
    expect(await machine.lading(["save", "back:1", "-o", "out.tar"]), name).toMatchObject({ code: 0 });
    // The same names as those of an archive's images.
    const bytes = (await readFile(join(machine.home, "out.tar"))).toString("latin1");
    const renamed = bytes.replaceAll("docker.io/library/back:1", name.padEnd(24, "x").slice(0, 24));
    await writeFile(join(machine.home, "renamed.tar"), Buffer.from(renamed, "latin1"));
    const load = await machine.lading(["load", "renamed.tar", "--force", "--json"]);
    if (load.code !== 0)
      expect(failureOf(load).code, name).toMatch(/^(?:archive-invalid|bad-reference|digest-mismatch|size-mismatch)$/);
    expect((await readdir(machine.home)).sort(), name).toEqual([".local", "out.tar", "renamed.tar"]);
  }
  expect(await stat(outside).catch(() => null)).toBeNull();
});
