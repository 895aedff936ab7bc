import { execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryStore } from "../../src/content/memory.js";
import { DockerEngine } from "../../src/engines/docker.js";
import { parseEndpoint } from "../../src/engines/endpoint.js";
import type { LocalEngine } from "../../src/engines/engine.js";
import { EngineApi } from "../../src/engines/engine-api.js";
import { PodmanEngine } from "../../src/engines/podman.js";
import { LocalImage } from "../../src/image/local-image.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import {
  type EngineStarter,
  newestGraphDriver,
  olderDocker,
  podman,
  stopProcess,
  waitFor,
} from "../support/engines.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { putBytes } from "../support/random-image.js";
import { validateImage } from "../support/validate-image.js";

/** Layers as tar programs write them: links, long names, whiteouts, empty files, names that are no text. */
async function oddLayers(folder: string): Promise<readonly Buffer[]> {
  const files = join(folder, "files");
  const long = join("deep", ...Array.from({ length: 12 }, (_, index) => `folder-with-a-rather-long-name-${index}`));
  await mkdir(join(files, long), { recursive: true });
  await writeFile(join(files, long, "x".repeat(120)), "behind a long name");
  await writeFile(join(files, "large"), randomBytesOf("large", 3_000_001));
  await writeFile(join(files, "empty"), "");
  execFileSync("ln", [join(files, "large"), join(files, "hard-link")]);
  execFileSync("ln", ["-s", "deep", join(files, "link-to-folder")]);
  execFileSync("ln", ["-s", "/etc/passwd", join(files, "link-to-the-host")]);
  const second = join(folder, "second");
  await mkdir(second);
  await writeFile(join(second, ".wh.empty"), "");
  await writeFile(join(second, "added"), "added");
  const odd = join(folder, "odd");
  await mkdir(odd);
  await writeFile(Buffer.concat([Buffer.from(join(odd, "no-text-")), Buffer.from([0xff, 0xfe])]), "content");
  const pack = async (from: string, format: string) => {
    const path = join(folder, "layer.tar");
    execFileSync("tar", ["-C", from, "--sort=name", `--format=${format}`, "--numeric-owner", "-cf", path, "."]);
    return await readFile(path);
  };
  return [await pack(files, "gnu"), await pack(files, "pax"), await pack(second, "gnu"), await pack(odd, "gnu")];
}

interface Subject {
  readonly starter: EngineStarter;
  /** A second way to the same engine that says nothing about where it keeps its images: over TCP. */
  readonly overTcp: (port: number) => readonly string[];
  readonly engine: (api: EngineApi) => LocalEngine;
}

const viaDocker = (starter: EngineStarter): Subject => ({
  starter,
  overTcp: (port) => ["-H", `tcp://127.0.0.1:${port}`],
  engine: (api) => new DockerEngine(api),
});

const subjects: readonly Subject[] = [
  viaDocker(olderDocker),
  viaDocker(newestGraphDriver),
  { starter: podman, overTcp: () => [], engine: (api) => new PodmanEngine(api) },
];

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

for (const { starter, overTcp, engine } of subjects) {
  const reason = await starter.available();
  describe.skipIf(reason !== null)(`${starter.name}${reason === null ? "" : ` (${reason})`}`, () => {
    let folder: string;
    let hub: MemoryStore;
    let near: LocalEngine;
    let far: LocalEngine;
    const cleanups: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "lading-folders-"));
      cleanups.push(() => rm(folder, { recursive: true, force: true }));
      const port = await freePort();
      const running = await starter.start(overTcp(port));
      cleanups.push(running.stop);
      if (starter === podman) {
        const place = ["--root", join(running.folder, "root"), "--runroot", join(running.folder, "run")];
        const second = spawn("/usr/bin/podman", [...place, "system", "service", "--time=0", `tcp:127.0.0.1:${port}`], {
          stdio: "ignore",
        });
        cleanups.push(() => stopProcess(second));
      }
      const open = (text: string) => {
        const opened = engine(
          new EngineApi({ endpoint: parseEndpoint(text, { origin: "the test" }), env: {}, platform: process.platform }),
        );
        cleanups.push(() => opened.close());
        return opened;
      };
      near = open(`unix://${running.socketPath}`);
      far = open(`tcp://127.0.0.1:${port}`);
      await waitFor(() => far.info().then(Boolean, () => false), null);
      hub = new MemoryStore();
    });
    afterAll(async () => {
      for (const cleanup of cleanups.reverse()) await cleanup();
    });

    const exported = async (from: LocalEngine, name: LocalImage) => {
      const into = new MemoryStore();
      const seen = new Set<string>();
      const progress = { report: (_layer: string, status: string) => void seen.add(status) };
      let root: Descriptor | null = null;
      for await (const descriptor of from.exportImage(name, { into, platform: null, format: "docker", progress })) {
        root = descriptor;
      }
      if (root === null) throw new Error("nothing came out");
      await validateImage(into, root);
      return { digest: root.digest, seen };
    };

    it("gives out of its folders what it exports, digest for digest", async () => {
      const layers = await oddLayers(folder);
      for (const count of [1, 3, 4]) {
        const chosen = layers.slice(0, count);
        const descriptors = [];
        for (const bytes of chosen) descriptors.push(await putBytes(hub, mediaTypes.dockerLayer, bytes));
        const config = JSON.stringify({
          ...{ architecture: "amd64", os: "linux", config: { Cmd: [`/${count}`] }, history: [] },
          rootfs: { type: "layers", diff_ids: chosen.map((bytes) => digestOf(bytes)) },
        });
        const configDescriptor = await putBytes(hub, mediaTypes.dockerConfig, Buffer.from(config));
        const mediaType = mediaTypes.dockerManifest;
        const manifest = { schemaVersion: 2, mediaType, config: configDescriptor, layers: descriptors };
        const root = await putBytes(hub, mediaType, Buffer.from(JSON.stringify(manifest)));
        const name = new LocalImage("odd", String(count));
        await near.importImage(root, { from: hub, names: [name], platform: null });
        const [outOfFolders, outOfExport] = [await exported(near, name), await exported(far, name)];
        expect(outOfFolders.digest).toBe(outOfExport.digest);
        expect(outOfExport.seen).toContain("exporting");
        // A name that is no text is left to the engine.
        expect(outOfFolders.seen.has("exporting")).toBe(count === 4);
      }
    });
  });
}
