import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenVectors } from "./golden/compressor-vectors.mjs";
import { findProgram, runProgram, suiteName } from "./support/programs.js";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Other versions of Node: paths in LADING_NODES, else what `.ci/run` installs. */
const nodes =
  process.env.LADING_NODES?.split(delimiter).filter((path) => path !== "") ??
  ["node22", "node24"].map(findProgram).filter((path) => path !== null);
const reason = nodes.length > 0 ? null : "no other Node here: name some in LADING_NODES";

describe(suiteName("the compressor's golden vectors", null), () => {
  let folder: string;
  beforeAll(async () => {
    // Below node_modules, so that the threads find the compressor as they do in an installed package.
    const cache = join(root, "node_modules", ".cache");
    await mkdir(cache, { recursive: true });
    folder = await mkdtemp(join(cache, "lading-golden-"));
    await build({
      entryPoints: [join(root, "src/content/compress.ts")],
      outfile: join(folder, "compress.mjs"),
      bundle: true,
      packages: "external",
      format: "esm",
      platform: "node",
      minify: true,
    });
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const check = async (node: string) => {
    const script = join(root, "test/golden/compressor.mjs");
    const { stdout } = await runProgram(node, [script, join(folder, "compress.mjs")]);
    const { compressorId, digests } = JSON.parse(stdout) as typeof goldenVectors;
    expect({ compressorId, digests }).toEqual(goldenVectors);
  };

  it("are made by a bundle on this Node, by a process that ends by itself", async () => {
    await check(process.execPath);
  });
  it.skipIf(reason !== null)(suiteName("are made by the other versions of Node", reason), async () => {
    for (const node of nodes) await check(node);
  });
});
