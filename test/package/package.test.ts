import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// What a user of the published package gets: packed, installed in an empty folder, used from there.

const root = fileURLToPath(new URL("../..", import.meta.url));
const bin = (name: string): string => join(root, "node_modules", ".bin", name);
const execute = promisify(execFile);

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

let folder = "";
let consumer = "";
let packed: Packed;

async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await execute(command, args, { cwd, maxBuffer: 32 * 1024 * 1024 });
    return stdout.trim();
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string };
    throw new Error(`${command} ${args.join(" ")} failed\n${stdout ?? ""}${stderr ?? ""}`, { cause: error });
  }
}

const inConsumer = (program: string, node = process.execPath): Promise<string> => run(node, ["-e", program], consumer);

beforeAll(async () => {
  if (!existsSync(join(root, "dist", "index.js"))) await run(process.execPath, ["scripts/build.mjs"], root);
  folder = await mkdtemp(join(tmpdir(), "lading-package-"));
  const output = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], root);
  packed = (JSON.parse(output) as Packed[])[0] as Packed;
  consumer = join(folder, "consumer");
  await mkdir(consumer);
  await writeFile(join(consumer, "package.json"), JSON.stringify({ name: "consumer", private: true }));
  const tarball = join(folder, packed.filename);
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "--omit=dev", tarball], consumer);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe("the package", () => {
  it("has what its users need and nothing else", () => {
    const paths = packed.files.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        "package.json",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "dist/index.js",
        "dist/index.d.ts",
      ]),
    );
    expect(paths.filter((path) => /\.test\.|^src\/|^test\/|^scripts\/|\.map$|\.tsbuildinfo$/.test(path))).toEqual([]);
    expect(paths.filter((path) => !/^(dist|schemas)\/|^[A-Z]+(\.md)?$|^package\.json$/.test(path))).toEqual([]);
  });

  it("is imported by a module", async () => {
    const names = await inConsumer('import("lading").then((module) => console.log(Object.keys(module).sort().join()))');
    expect(names.split(",")).toEqual(
      expect.arrayContaining([
        "AbstractDockerImageProgress",
        "LadingError",
        "LocalImage",
        "RemoteImage",
        "Tag",
        "isLadingError",
        "openClient",
        "progressEvents",
      ]),
    );
    expect(
      await inConsumer('import("lading/registry").then((module) => console.log(typeof module.createRegistry))'),
    ).toBe("function");
  });

  it("is taken by require()", async () => {
    expect(await inConsumer('console.log(typeof require("lading").openClient)')).toBe("function");
    expect(await inConsumer('console.log(typeof require("lading/registry").listen)')).toBe("function");
    expect(await inConsumer('console.log(require("lading/package.json").name)')).toBe("lading");
  });

  it("moves an image between the store and a registry in memory, as installed", async () => {
    const program = `
      import { openClient } from "lading";
      import { createRegistry } from "lading/registry";
      import { mkdirSync, writeFileSync } from "node:fs";
      mkdirSync("rootfs");
      writeFileSync("rootfs/hello.txt", "hello");
      const registry = createRegistry({ storage: "memory" });
      const config = { clusters: { main: { registryUrl: "http://localhost:5050", registry } }, cluster: "main", owner: "alice" };
      const client = await openClient({ config, engine: "store", storePath: "store", env: {} });
      try {
        const local = client.parse.localImage("hello:1");
        await client.local.import("rootfs", local);
        const remote = await client.images.push(local);
        console.log(String(remote), String(await client.images.pull(remote, client.parse.localImage("back:1"))));
      } finally {
        await client.close();
        await registry.close();
      }`;
    await writeFile(join(consumer, "job.mjs"), program);
    expect(await run(process.execPath, ["job.mjs"], consumer)).toBe("image://main/alice/hello:1 back:1");
  });

  it("brings the command", async () => {
    const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { readonly version: string };
    expect(await run(join(consumer, "node_modules", ".bin", "lading"), ["--version"], consumer)).toBe(version);
  });

  it.each(["NodeNext", "Bundler"])("has types for a strict program (%s)", async (resolution) => {
    const program = `
      import { type LocalImage, openClient, RemoteImage, Tag, LadingError, isLadingError } from "lading";
      import { createRegistry, listen } from "lading/registry";
      const client = await openClient();
      const local: LocalImage = client.parse.localImage("app:1");
      const remote: RemoteImage = await client.images.push(local, null, { progress: (event) => void event.type });
      const size: number = await client.images.size(remote);
      const tag: Tag = await client.images.tagInfo(remote);
      try { await client.images.pull(remote, local, { signal: AbortSignal.timeout(1000) }); }
      catch (error) { if (isLadingError(error)) { const known: LadingError = error; void known.code; } }
      const server = await listen(createRegistry({ storage: "memory" }), { host: "127.0.0.1", port: 0 });
      // @ts-expect-error a digest is text
      const wrong: number = await client.images.digest(remote);
      export { size, tag, server, wrong };`;
    await writeFile(join(consumer, "program.mts"), program);
    await mkdir(join(consumer, "node_modules", "@types"), { recursive: true });
    const types = join(consumer, "node_modules", "@types", "node");
    if (!existsSync(types)) await symlink(join(root, "node_modules", "@types", "node"), types, "dir");
    const undici = join(consumer, "node_modules", "undici-types");
    if (!existsSync(undici)) await symlink(join(root, "node_modules", "undici-types"), undici, "dir");
    const module = resolution === "Bundler" ? "ESNext" : resolution;
    const options = [
      "--strict",
      "--noEmit",
      "--exactOptionalPropertyTypes",
      "--noUncheckedIndexedAccess",
      "--types",
      "node",
    ];
    const target = ["--target", "ES2022", "--lib", "ES2023,ESNext.Disposable", "--module", module];
    const resolved = ["--moduleResolution", resolution];
    expect(await run(bin("tsc"), [...options, ...target, ...resolved, "program.mts"], consumer)).toBe("");
  });

  it("pleases publint", async () => {
    expect(await run(bin("publint"), ["--strict", "--pack", "false"], root)).not.toMatch(/error/i);
  });

  it("pleases are-the-types-wrong", async () => {
    await run(bin("attw"), [join(folder, packed.filename), "--profile", "esm-only", "--no-emoji"], root);
  });

  const tools = process.env.LADING_TOOLS ?? join(homedir(), ".cache", "lading-tools", "bin");
  describe.each(["node22", "node24"])("under %s", (node) => {
    const there = existsSync(join(tools, node));
    it.skipIf(!there)(
      there ? "is imported and required" : `is imported (skipped: ${node} is not on this machine)`,
      async () => {
        const program =
          'import("lading").then((module) => console.log(module === require("lading"), typeof module.openClient))';
        expect(await inConsumer(program, join(tools, node))).toBe("true function");
      },
    );
  });
});
