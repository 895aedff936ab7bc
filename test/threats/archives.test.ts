import { execFileSync } from "node:child_process";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, isLadingError, openClient } from "../../src/index.js";
import { digestOf, parseDigest } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { failureOf, refused, storeIndex } from "../cli/failure.js";
import { Machine, program } from "../cli/machine.js";
import {
  dockerArchiveEntries,
  file,
  folder,
  type HostileEntry,
  hardlink,
  hostileTar,
  link,
} from "../support/hostile-tar.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { breakouts, type Outside } from "./breakouts.js";
import { folderState } from "./folder-state.js";
import { threat } from "./threat.js";

// Rows C1-C7 and C10-C12: archives that somebody made to do harm, for `load` and for `import`.

let machine: Machine;
let client: Client;
let outside: Outside;
let store: LayoutStore;
const work = () => join(machine.home, "work");
const invalid = { code: "archive-invalid", side: "source", exit: 65 } as const;

beforeEach(async () => {
  machine = await Machine.create();
  client = await openClient({ env: machine.env });
  store = new LayoutStore(machine.store);
  const canary = join(machine.home, "canary");
  await mkdir(join(canary, "inner"), { recursive: true });
  await writeFile(join(canary, "secret"), "not to be read, linked or written");
  await mkdir(work());
  outside = { absolute: canary, relative: `${"../".repeat(12)}${canary.slice(1)}` };
});
afterEach(async () => {
  await client.close();
  await machine.remove();
});

const layer = hostileTar([folder("etc/"), file("etc/motd", "hello")]);

async function archive(entries: readonly HostileEntry[], end = 2): Promise<string> {
  const path = join(work(), "archive.tar");
  await writeFile(path, hostileTar(entries, end));
  return path;
}

/** The code of the error that it ends with, or null. Anything but an error of ours is a failure. */
async function outcomeOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (!isLadingError(error)) throw error;
    return error.code;
  }
}

for (const [name, entriesFor] of Object.entries(breakouts)) {
  threat("C1", `load: ${name} in the archive and in a layer of it leaves everything outside as it was`, async () => {
    const before = await folderState(outside.absolute);
    const entries = entriesFor(outside);
    const path = await archive([...entries, ...dockerArchiveEntries([layer], ["app:1"])]);
    expect([null, "archive-invalid"]).toContain(await outcomeOf(client.local.load(path)));
    // In a layer they are bytes among others: nobody here unpacks it, and the engine's own unpacking is the engine's.
    const opaque = hostileTar(entries);
    const inLayer = await archive(dockerArchiveEntries([opaque], ["opaque:1"]));
    expect(await outcomeOf(client.local.load(inLayer))).toBeNull();
    const [image] = (await client.local.inspect(client.parse.localImage("opaque:1"))).platforms;
    expect(image?.layers.map(({ diffId }) => diffId)).toEqual([digestOf(opaque)]);
    expect(await folderState(outside.absolute)).toEqual(before);
    expect((await readdir(machine.home)).toSorted()).toEqual([".local", "canary", "work"]);
    expect(await readdir(work())).toEqual(["archive.tar"]);
  });

  threat("C1", `import: ${name} leaves everything outside as it was`, async () => {
    const before = await folderState(outside.absolute);
    const path = await archive(entriesFor(outside));
    const imported = client.local.import(path, client.parse.localImage("app:1"));
    expect([null, "archive-invalid"]).toContain(await outcomeOf(imported));
    expect(await folderState(outside.absolute)).toEqual(before);
    expect((await readdir(machine.home)).toSorted()).toEqual([".local", "canary", "work"]);
    expect(await readdir(work())).toEqual(["archive.tar"]);
  });
}

threat("C2", "a link's target is not looked for in the folder that the command runs in", async () => {
  // The machine's home is that folder: `canary/secret` is a path of it, too.
  const before = await folderState(outside.absolute);
  const path = await archive([
    hardlink("layer-0/layer.tar", "canary/secret"),
    ...dockerArchiveEntries([layer], ["app:1"]).slice(1),
  ]);
  await refused(machine, ["load", path], invalid);
  await refused(machine, ["import", await archive([hardlink("motd", "canary/secret")]), "app:1"], invalid);
  expect(await folderState(outside.absolute)).toEqual(before);
  for await (const { digest } of store.blobs.list()) {
    for await (const chunk of store.blobs.get({
      mediaType: "x",
      digest,
      size: (await store.blobs.stat(digest))?.size ?? 0,
    })) {
      expect(Buffer.from(chunk).includes("not to be read")).toBe(false);
    }
  }
});

threat("C3", "names that differ in case or composition are different names, and no names of files", async () => {
  const names = ["Layer/layer.tar", "layer/layer.tar", "caf\u00e9/layer.tar", "cafe\u0301/layer.tar"];
  const layers = names.map((name) => hostileTar([file("name", name)]));
  const plain = dockerArchiveEntries(layers, ["app:1"]);
  const config = plain.at(-2) as HostileEntry;
  const manifest = JSON.stringify([{ Config: config.name, RepoTags: ["app:1"], Layers: names }]);
  const bodies = names.map((name, index) => ({ name, body: layers[index] ?? "" }));
  const path = await archive([...bodies, config, { name: "manifest.json", body: manifest }]);
  expect(await outcomeOf(client.local.load(path))).toBeNull();
  const [image] = (await client.local.inspect(client.parse.localImage("app:1"))).platforms;
  expect(image?.layers.map(({ diffId }) => diffId)).toEqual(layers.map((bytes) => digestOf(bytes)));
  // What the store calls its files is made of digests alone.
  const files = await readdir(join(machine.store, "blobs", "sha256"));
  expect(files.filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual([]);
});

threat("C4", "names in manifest.json are keys of the archive, and links in it are followed a few steps", async () => {
  const good = dockerArchiveEntries([layer], ["app:1"]);
  const config = good.at(-2) as HostileEntry;
  const manifestOf = (Config: string, Layers: readonly string[]): HostileEntry => ({
    name: "manifest.json",
    body: JSON.stringify([{ Config, RepoTags: ["app:1"], Layers }]),
  });
  const there = ["layer-0/layer.tar"];
  const cases: readonly (readonly HostileEntry[])[] = [
    // First: a layer that the store has had may be left out.
    [config, manifestOf(config.name, ["missing/layer.tar"])],
    [...good.slice(0, 2), manifestOf(`../canary/${config.name}`, there)],
    [...good.slice(0, 2), manifestOf(`${outside.absolute}/secret`, there)],
    [...good.slice(0, 2), manifestOf(config.name, [`${outside.absolute}/secret`])],
    [...good.slice(0, 2), manifestOf(config.name, ["../canary/secret"])],
    [...good.slice(0, 2), manifestOf(config.name, ["layer-0\\layer.tar"])],
    [...good.slice(0, 2), manifestOf("missing.json", there)],
    [...good.slice(0, 2), manifestOf("", there)],
    [...good.slice(0, 2), manifestOf("a.json", there), link("a.json", "b.json"), link("b.json", "a.json")],
    [link("manifest.json", "config.json"), link("config.json", "manifest.json")],
    [...good.slice(0, 2), manifestOf("a.json", there), link("a.json", "../canary/secret")],
  ];
  for (const entries of cases) await refused(machine, ["load", await archive(entries)], invalid);
  // One step is how Docker itself writes layers that come twice.
  const linked = [...good, link("again.json", config.name)].filter(({ name }) => name !== "manifest.json");
  const path = await archive([...linked, manifestOf("again.json", there)]);
  expect(await machine.lading(["load", path])).toMatchObject({ code: 0, stdout: "app:1\n" });
});

threat(
  "C5",
  "load refuses devices, FIFOs and sparse files in an archive; import leaves devices out and says so",
  async () => {
    const good = dockerArchiveEntries([layer], ["app:1"]);
    for (const flag of ["3", "4", "6"]) {
      const device = { name: "device", flag, mode: 0o7777 };
      await refused(machine, ["load", await archive([device, ...good])], invalid);
      const imported = await machine.lading(["import", await archive([device, file("motd")]), `app:${flag}`]);
      expect(imported).toMatchObject({ code: 0, stdout: `app:${flag}\n` });
      expect(imported.stderr).toContain("device is left out");
    }
    const sparse: readonly HostileEntry[] = [
      { name: "sparse", flag: "S", body: "x" },
      { name: "sparse", body: "x", pax: { "GNU.sparse.major": "1", "GNU.sparse.realsize": "1000000000000" } },
      { name: "unknown", flag: "Z", body: "x" },
    ];
    for (const entry of sparse) {
      await refused(machine, ["load", await archive([entry, ...good])], invalid);
      await refused(machine, ["import", await archive([entry]), "app:1"], invalid);
    }
  },
);

threat("C5", "a FIFO or a device as input is refused at once, and neither hangs nor fills the disk", async () => {
  const fifo = join(work(), "fifo");
  execFileSync("mkfifo", [fifo]);
  for (const path of [fifo, "/dev/zero"]) {
    await refused(machine, ["load", path], { code: "io", side: "source", exit: 74 });
    await refused(machine, ["import", path, "app:1"], { code: "io", side: "source", exit: 74 });
  }
  // What a shell hands over is read as ever.
  const path = await archive(dockerArchiveEntries([layer], ["app:1"]));
  for (const line of ['cat "$0" | "$1" "$2" load /dev/stdin', '"$1" "$2" load <(cat "$0")']) {
    const options = { env: machine.env, encoding: "utf8" } as const;
    expect(execFileSync("bash", ["-c", line, path, process.execPath, program], options)).toBe("app:1\n");
  }
  // A folder with a FIFO in it is imported without it, as every layer is.
  const imported = await machine.lading(["import", work(), "folder:1"]);
  expect(imported).toMatchObject({ code: 0 });
  expect(imported.stderr).toContain("fifo is left out");
});

threat("C6", "entries that come twice, lie about their size, or come after the end", async () => {
  const good = dockerArchiveEntries([layer], ["app:1"]);
  const other = hostileTar([file("etc/motd", "something else")]);
  const index = JSON.stringify({ schemaVersion: 2, manifests: [] });
  const digest = digestOf("blob").slice(7);
  const cases: readonly [string, readonly HostileEntry[], ("archive-invalid" | "digest-mismatch")?][] = [
    ["a second manifest.json", [...good, { name: "manifest.json", body: "[]" }]],
    ["the same under another spelling", [...good, { name: "./manifest.json", body: "[]" }]],
    ["a second layer", [...good, { name: "layer-0/layer.tar", body: other }]],
    ["a second index.json", [{ name: "index.json", body: index }, { name: "index.json", body: `${index} ` }, ...good]],
    ["a second oci-layout", [{ name: "oci-layout", body: "{}" }, { name: "oci-layout", body: "{ }" }, ...good]],
    [
      "a second blob",
      [{ name: `blobs/sha256/${digest}`, body: "blob" }, { name: `blobs/sha256/${digest}`, body: "blub" }, ...good],
      "digest-mismatch",
    ],
    ["a size in PAX that is longer than the data", [{ name: "x", body: "abc", pax: { size: "5000000" } }, ...good]],
    [
      "a size in PAX that is shorter than the data",
      [{ name: "x", body: Buffer.alloc(2000, 1), pax: { size: "1" } }, ...good],
    ],
    ["a size in the header that is longer than the data", [...good, { name: "x", body: "abc", size: 100_000 }]],
  ];
  for (const [what, entries, code = "archive-invalid"] of cases) {
    const failed = await machine.lading(["load", await archive(entries), "--json"]);
    expect([what, failed.code, failureOf(failed).code]).toEqual([what, 65, code]);
  }
  const path = join(work(), "archive.tar");
  await writeFile(path, Buffer.concat([hostileTar(good), hostileTar([file("late")])]));
  await refused(machine, ["load", path], invalid);
  // The very same bytes twice are one entry.
  expect(await machine.lading(["load", await archive([...good, ...good])])).toMatchObject({ code: 0 });
  for (const twice of [
    [file("a", "1"), file("a", "2")],
    [file("a"), link("a", "b")],
    [folder("a/"), file("a")],
  ]) {
    await refused(machine, ["import", await archive(twice), "app:1"], invalid);
  }
});

for (const part of ["index.json", "oci-layout", "blobs", "blobs/sha256", "a blob", ".lading", ".lading/partial"]) {
  threat(
    "C7",
    `${part} as a symbolic link is refused, read and written (who owns the folder is not asked)`,
    async () => {
      await machine.putImage("app:1", { layers: 1 });
      const root = await store.resolve("app:1");
      const path = part === "a blob" ? store.blobs.pathOf(root?.digest ?? digestOf("")) : join(machine.store, part);
      const moved = join(machine.home, "moved");
      // The real thing, elsewhere: whoever follows the link finds all as it was.
      execFileSync("mv", [path, moved]);
      await symlink(moved, path);
      const before = await folderState(machine.home);
      const bytes = randomBytesOf("new content", 400_000);
      const descriptor = { mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: bytes.length };
      const source = async function* () {
        yield bytes;
      };
      const fresh = () => new LayoutStore(machine.store);
      const reading = async () => {
        const found = await fresh().resolve("app:1");
        if (found === null) throw new Error("nothing is there");
        return await fresh().raw(found);
      };
      const writing = async () => {
        await fresh().put(descriptor, source);
        await fresh().tag(root ?? descriptor, "app:2");
      };
      // What has no part in reading is refused by the writers alone.
      const readers = !part.startsWith(".lading") && part !== "oci-layout";
      if (readers) expect(await outcomeOf(reading())).toBe("io");
      expect(await outcomeOf(writing())).toBe("io");
      const after = await folderState(machine.home);
      // Nothing went through the link, or took its place.
      const through = part === "a blob" ? [] : Object.keys(after).filter((name) => name.startsWith("moved"));
      expect(through.map((name) => [name, after[name]])).toEqual(through.map((name) => [name, before[name]]));
      expect(await storeIndex(machine.store)).not.toContain("app:2");
    },
  );
}

threat("C10", "JSON without an end and entries without number end at their limits", async () => {
  const huge = async function* (name: string) {
    yield hostileTar([{ name, size: 1_000_000_000 }], 0);
    for (let sent = 0; sent < 1000; sent++) yield Buffer.alloc(1_000_000, 0x20);
  };
  for (const name of ["index.json", "manifest.json"]) {
    expect(await outcomeOf(client.local.load(huge(name)))).toBe("limit-exceeded");
  }
  const block = hostileTar([{ name: "x", body: "" }], 0);
  const many = async function* () {
    const blocks = Buffer.concat(Array.from({ length: 10_000 }, () => block));
    for (let sent = 0; sent < 300; sent++) yield blocks;
    yield hostileTar(dockerArchiveEntries([layer], ["app:1"]));
  };
  expect(await outcomeOf(client.local.load(many()))).toBe("limit-exceeded");
  const documents = async function* () {
    for (let number = 0; number < 30; number++) {
      yield hostileTar([{ name: `${number}.json`, body: Buffer.alloc(4_000_000, "{") }], 0);
    }
  };
  expect(await outcomeOf(client.local.load(documents()))).toBe("limit-exceeded");
  const named = await archive([{ name: "x", pax: { path: "n".repeat(5000) } }]);
  expect(await outcomeOf(client.local.load(named))).toBe("limit-exceeded");
  expect(await outcomeOf(client.local.import(named, client.parse.localImage("app:1")))).toBe("limit-exceeded");
  const header = await archive([{ name: "x", pax: { comment: "n".repeat(2_000_000) } }]);
  expect(await outcomeOf(client.local.load(header))).toBe("limit-exceeded");
  expect(await store.entries()).toEqual([]);
});

threat("C11", "an archive moves no tag that is there, unless it is told to, and then says so", async () => {
  await machine.putImage("app:1", { layers: 1 });
  await machine.putImage("other:1", { seed: "other" });
  const before = await storeIndex(machine.store);
  const path = await archive(dockerArchiveEntries([layer], ["new:1", "app:1"]));
  await refused(machine, ["load", path], { code: "conflict", side: "destination", exit: 73 });
  await refused(machine, ["import", await archive([file("motd")]), "app:1"], {
    code: "conflict",
    side: "destination",
    exit: 73,
  });
  // All names or none: the new one is not there either.
  expect(await storeIndex(machine.store)).toBe(before);
  const forced = await machine.lading([
    "load",
    await archive(dockerArchiveEntries([layer], ["app:1"])),
    "--force",
    "--json",
  ]);
  expect(forced).toMatchObject({ code: 0 });
  const [image] = JSON.parse(forced.stdout).images;
  expect(image.local).toBe("app:1");
  expect((await store.resolve("app:1"))?.digest).toBe(image.digest);
  expect((await store.resolve("other:1"))?.digest).toBeDefined();
});

threat("C12", "what an archive or a record claims of a layer is compared, never believed", async () => {
  const good = dockerArchiveEntries([layer], ["app:1"]);
  const other = hostileTar([file("etc/motd", "something else")]);
  const mismatch = { code: "digest-mismatch", side: "source", exit: 65 } as const;
  await refused(
    machine,
    ["load", await archive([{ ...good[0], name: "layer-0/layer.tar", body: other }, ...good.slice(1)])],
    mismatch,
  );
  // A config under a name that is not its digest.
  const config = good.at(-2) as HostileEntry;
  const lying = `${"0".repeat(64)}.json`;
  const manifest = {
    name: "manifest.json",
    body: JSON.stringify([{ Config: lying, RepoTags: [], Layers: ["layer-0/layer.tar"] }]),
  };
  await refused(
    machine,
    ["load", await archive([...good.slice(0, 1), { ...config, name: lying }, manifest])],
    mismatch,
  );
  // The memory of a layer that says another size than the blob has, and one that says the wrong blob.
  const gzip = gzipSync(layer);
  const blob = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(gzip), size: gzip.length };
  const put = async (bytes: Uint8Array) =>
    await store.put({ ...blob, digest: digestOf(bytes), size: bytes.length }, async function* () {
      yield bytes;
    });
  await put(gzip);
  await store.rememberLayer(digestOf(layer), { ...blob, size: gzip.length + 1 });
  expect(await machine.lading(["load", await archive(good)])).toMatchObject({ code: 0 });
  const [image] = (await client.local.inspect(client.parse.localImage("app:1"))).platforms;
  const [loaded] = image?.layers ?? [];
  expect(loaded?.diffId).toBe(digestOf(layer));
  expect(await store.blobs.has({ ...blob, digest: parseDigest(loaded?.digest), size: loaded?.size ?? 0 })).toBe(true);
  // The entry that lied is dropped: what is remembered now is what is there.
  expect(await store.compressedLayer(digestOf(layer))).toEqual({
    ...blob,
    mediaType: expect.any(String),
    digest: loaded?.digest,
    size: loaded?.size,
  });
});
