import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { randomImage } from "../../test/support/random-image.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { validateImage } from "../../test/support/validate-image.js";
import { digestOf } from "../oci/digest.js";
import { LayoutStore } from "./layout.js";

const run = promisify(execFile);
const tools = join(homedir(), ".cache", "lading-tools", "bin");
const env = { ...process.env, PATH: `${tools}${delimiter}${process.env.PATH}` };

/** Runs a tool and gives its stdout; null where it is not installed. */
async function tool(name: string, ...args: readonly string[]): Promise<string | null> {
  try {
    return (await run(name, [...args], { env, maxBuffer: 16 * 1024 * 1024 })).stdout;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

async function tagged() {
  const folder = await temporaryFolder();
  const store = new LayoutStore(join(folder, "store"));
  const names = ["app:1", "localhost:5000/team/app:v2", "quay.io/org/a/b:latest"];
  const images = [];
  // OCI manifests alone: skopeo passes over entries of Docker's type in a layout.
  for (const name of names) {
    const image = await randomImage(store, { seed: name });
    await store.tag(image.root, name);
    images.push({ name, image });
  }
  return { folder, store, images };
}

describe("other tools read our layout", () => {
  test("skopeo by name", async (context) => {
    const { folder, store, images } = await tagged();
    for (const [index, { name, image }] of images.entries()) {
      const raw = await tool("skopeo", "inspect", "--raw", `oci:${store.directory}:${name}`);
      if (raw === null) return context.skip("skopeo is not installed");
      expect(digestOf(raw)).toBe(image.root.digest);
      await tool("skopeo", "copy", `oci:${store.directory}:${name}`, `dir:${join(folder, `dir-${index}`)}`);
      const manifest = await readFile(join(folder, `dir-${index}`, "manifest.json"));
      expect(digestOf(manifest)).toBe(image.root.digest);
    }
  });

  test("oras by digest", async (context) => {
    const { store, images } = await tagged();
    for (const { image } of images) {
      const raw = await tool("oras", "manifest", "fetch", "--oci-layout", `${store.directory}@${image.root.digest}`);
      if (raw === null) return context.skip("oras is not installed");
      expect(digestOf(raw)).toBe(image.root.digest);
    }
  });

  test("regctl by digest", async (context) => {
    const { store, images } = await tagged();
    for (const { image } of images) {
      const reference = `ocidir://${store.directory}@${image.root.digest}`;
      const raw = await tool("regctl", "manifest", "get", "--format", "raw-body", reference);
      if (raw === null) return context.skip("regctl is not installed");
      expect(digestOf(raw)).toBe(image.root.digest);
    }
  });
});

describe("we read the layouts of other tools", () => {
  test("skopeo's, by the name that it was given, and both may write one layout", async (context) => {
    const { folder, store, images } = await tagged();
    const theirs = join(folder, "theirs");
    for (const { name } of images) {
      const done = await tool("skopeo", "copy", `oci:${store.directory}:${name}`, `oci:${theirs}:${name}`);
      if (done === null) return context.skip("skopeo is not installed");
    }
    const read = new LayoutStore(theirs);
    const entries = await read.entries();
    expect(entries.map(({ name }) => name).toSorted()).toEqual(images.map(({ name }) => name).toSorted());
    for (const { descriptor } of entries) await validateImage(read, descriptor);
    const ours = await randomImage(read, { seed: "ours" });
    await read.tag(ours.root, "ours:1");
    await tool("skopeo", "copy", `oci:${store.directory}:app:1`, `oci:${theirs}:again:1`);
    expect(digestOf((await tool("skopeo", "inspect", "--raw", `oci:${theirs}:ours:1`)) ?? "")).toBe(ours.root.digest);
    expect(await read.resolve("again:1")).not.toBeNull();
    expect(await read.resolve("ours:1")).toEqual(ours.root);
  });
});
