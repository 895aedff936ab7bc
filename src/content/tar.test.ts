import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import tarStream from "tar-stream";
import { describe, expect, it } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { readTar, type TarInput, writeTar } from "./tar.js";
import { parsePax } from "./tar-header.js";
import { readAll } from "./verify.js";

async function* chunked(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

interface Read {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly mtime: number;
  readonly linkName: string;
  readonly body: string;
}

async function read(bytes: Uint8Array, size = 10_000, options = {}): Promise<Read[]> {
  const entries: Read[] = [];
  for await (const { name, type, mode, uid, mtime, linkName, body } of readTar(chunked(bytes, size), options)) {
    const content = Buffer.from(await readAll(body, 1 << 28)).toString("latin1");
    entries.push({ name, type, mode, uid, mtime, linkName, body: content });
  }
  return entries;
}

const write = async (entries: readonly TarInput[]) => Buffer.from(await readAll(writeTar(entries), 1 << 28));
const drain = async (bytes: Uint8Array, options = {}) => {
  for await (const _ of readTar(chunked(bytes), options));
};

const segment = fc.stringMatching(/^[a-z0-9_äöü.-]{1,60}$/).filter((part) => part !== "." && part !== "..");
const name = fc.array(segment, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/"));
const entry: fc.Arbitrary<TarInput> = fc.oneof(
  fc
    .record({
      name,
      mode: fc.nat(0o7777),
      uid: fc.nat(3_000_000),
      mtime: fc.nat(2 ** 34),
      body: fc.uint8Array({ maxLength: 3000 }),
    })
    .map((file) => ({ ...file, size: file.body.byteLength })),
  fc.record({ name: name.map((path) => `${path}/`), type: fc.constant("directory" as const), mode: fc.nat(0o7777) }),
  fc.record({ name, type: fc.constantFrom("symlink" as const, "hardlink" as const), linkName: name }),
);

describe("readTar", () => {
  it("reads back what writeTar wrote, however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 12 }), fc.integer({ min: 1, max: 5000 }), async (entries, size) => {
        const found = await read(await write(entries), size);
        expect(found.map(({ name, body }) => [name, body])).toEqual(
          entries.map((each) => [
            each.name,
            Buffer.from((each.body as Uint8Array | undefined) ?? []).toString("latin1"),
          ]),
        );
        entries.forEach((each, index) => {
          const one = found[index];
          expect(one?.type).toBe(each.type ?? "file");
          if (each.mode !== undefined) expect(one?.mode).toBe(each.mode);
          if (each.uid !== undefined) expect(one?.uid).toBe(each.uid);
          if (each.mtime !== undefined) expect(one?.mtime).toBe(each.mtime);
          if (each.linkName !== undefined) expect(one?.linkName).toBe(each.linkName);
        });
      }),
    );
  });

  it("agrees with tar-stream about what writeTar wrote", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 8 }), async (entries) => {
        const extract = tarStream.extract();
        const seen: unknown[] = [];
        extract.on("entry", (header, stream, next) => {
          buffer(stream).then((body) => {
            seen.push([header.name, header.type, header.mode, body.toString("latin1")]);
            next();
          }, next);
        });
        const done = new Promise<void>((resolve, reject) => {
          extract.on("finish", () => resolve()).on("error", reject);
        });
        extract.end(await write(entries));
        await done;
        const types: Record<string, string> = { hardlink: "link" };
        const ours = (await read(await write(entries))).map((one) => [
          // tar-stream drops a folder's slash.
          one.type === "directory" ? one.name.replace(/\/$/, "") : one.name,
          types[one.type] ?? one.type,
          one.mode,
          one.body,
        ]);
        expect(
          seen.map((one) => [String((one as string[])[0]).replace(/\/$/, ""), ...(one as unknown[]).slice(1)]),
        ).toEqual(ours);
      }),
      { numRuns: 50 },
    );
  });

  it.each(["gnu", "posix", "ustar", "v7", "oldgnu"])("reads GNU tar's %s format", async (format) => {
    const root = mkdtempSync(join(tmpdir(), "lading-tar-"));
    try {
      const long =
        format === "gnu" || format === "posix" || format === "oldgnu" ? `${"deep/".repeat(40)}file` : "deep/file";
      const body = randomBytesOf(format, 70_000);
      for (const path of [long, "a"]) {
        mkdirSync(dirname(join(root, path)), { recursive: true });
        writeFileSync(join(root, path), body);
      }
      symlinkSync(`${"x/".repeat(long.length > 100 ? 80 : 10)}y`, join(root, "sym"));
      linkSync(join(root, "a"), join(root, "b"));
      const tar = execFileSync("tar", ["-C", root, `--format=${format}`, "--sort=name", "-cf", "-", "."]);
      const entries = await read(tar);
      const byName = new Map(entries.map((one) => [one.name, one]));
      expect(byName.get(`./${long}`)?.body).toBe(Buffer.from(body).toString("latin1"));
      expect(byName.get("./sym")).toMatchObject({ type: "symlink", linkName: expect.stringMatching(/^(x\/)+y$/) });
      expect(byName.get("./b")).toMatchObject({ type: "hardlink", linkName: "./a", body: "" });
      expect(byName.get("./")).toMatchObject({ type: "directory" });
    } finally {
      rmSync(root, { recursive: true });
    }
  });

  it("is read by GNU tar with the same names, long ones and big numbers included", async () => {
    const tar = await write([
      { name: "d/", type: "directory" },
      { name: `d/${"n".repeat(150)}`, size: 3, body: Buffer.from("abc"), uid: 5_000_000, mtime: 10 },
      { name: "d/l", type: "symlink", linkName: "t".repeat(180) },
    ]);
    const listed = execFileSync("tar", ["--numeric-owner", "-tvf", "-"], { input: tar, encoding: "utf8" });
    expect(listed).toContain(`d/${"n".repeat(150)}`);
    expect(listed).toContain("5000000/0");
    expect(listed).toContain(`d/l -> ${"t".repeat(180)}`);
  });

  it("keeps names that are not UTF-8", async () => {
    const raw = Buffer.from([0x66, 0xff, 0xfe]);
    const tar = await write([{ name: raw }, { name: Buffer.concat([Buffer.alloc(200, 0x61), raw]) }]);
    const found: Buffer[] = [];
    for await (const { rawName } of readTar(chunked(tar))) found.push(Buffer.from(rawName));
    expect(found[0]?.equals(raw)).toBe(true);
    expect(found[1]?.subarray(200).equals(raw)).toBe(true);
  });

  it("skips what is not read of a body, and gives nothing of it later", async () => {
    const tar = await write([
      { name: "a", size: 200_000, body: randomBytesOf("a", 200_000) },
      { name: "b", size: 5, body: Buffer.from("hello") },
    ]);
    const names: string[] = [];
    const stale: AsyncIterable<Uint8Array>[] = [];
    for await (const one of readTar(chunked(tar, 1000))) {
      names.push(one.name);
      if (one.name === "b") expect((await readAll(stale[0] as AsyncIterable<Uint8Array>, 1e9)).byteLength).toBe(0);
      stale.push(one.body);
      if (one.name === "a") for await (const _ of one.body) break;
    }
    expect(names).toEqual(["a", "b"]);
  });

  it("refuses an archive that is cut anywhere", async () => {
    const tar = await write([{ name: "a", size: 1000, body: new Uint8Array(1000).fill(1) }, { name: "b" }]);
    const end = tar.length - 1024;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: end + 511 }), async (length) => {
        await expect(drain(tar.subarray(0, length))).rejects.toMatchObject({ code: "archive-invalid" });
      }),
    );
    await drain(tar.subarray(0, end + 512));
  });

  it("refuses what lies or does not belong", async () => {
    const good = await write([{ name: "a", size: 3, body: Buffer.from("abc") }]);
    const after = Buffer.concat([good, good]);
    const noise = randomBytesOf("noise", 4096);
    const flipped = Buffer.from(good);
    flipped[3] = 0x41;
    const device = Buffer.from(good);
    device[156] = 0x53; // A sparse file, and its checksum:
    device.write(sum(device).toString(8).padStart(6, "0"), 148, "latin1");
    for (const bad of [after, noise, flipped, device, Buffer.alloc(0)]) {
      await expect(drain(bad)).rejects.toMatchObject({ code: "archive-invalid" });
    }
  });

  it("bounds entries, headers and names", async () => {
    const three = await write([{ name: "a" }, { name: "b" }, { name: "c" }]);
    await expect(drain(three, { maxEntries: 2 })).rejects.toMatchObject({ code: "limit-exceeded" });
    await drain(three, { maxEntries: 3 });
    for (const size of [5000, 2_000_000]) {
      const long = await write([{ name: "n".repeat(size) }]);
      await expect(drain(long)).rejects.toMatchObject({ code: "limit-exceeded" });
    }
  });

  it("never throws anything but its own errors, whatever the bytes", async () => {
    const tar = await write([{ name: "x".repeat(120), size: 700, body: new Uint8Array(700) }, { name: "b" }]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(tar.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        async (changes) => {
          const bytes = Buffer.from(tar);
          for (const [at, value] of changes) bytes[at] = value;
          await drain(bytes).catch((error: unknown) => {
            expect(error).toMatchObject({
              name: "LadingError",
              code: expect.stringMatching(/archive-invalid|limit-exceeded/),
            });
          });
        },
      ),
    );
  });

  it("ends the source when the reader leaves, and stops at a signal", async () => {
    let closed = false;
    const tar = await write([{ name: "a", size: 100_000, body: new Uint8Array(100_000) }]);
    const source = (async function* () {
      try {
        yield* chunked(tar, 1000);
      } finally {
        closed = true;
      }
    })();
    for await (const _ of readTar(source)) break;
    expect(closed).toBe(true);
    await expect(drain(tar, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "cancelled" });
  });
});

describe("writeTar", () => {
  it("refuses a body that is not as long as it was said", async () => {
    for (const size of [2, 4]) {
      await expect(write([{ name: "a", size, body: Buffer.from("abc") }])).rejects.toMatchObject({
        code: "size-mismatch",
      });
    }
  });
});

function sum(block: Buffer): number {
  let total = 0;
  for (let at = 0; at < 512; at++) total += at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
  return total;
}

describe("parsePax", () => {
  it.each([
    ["20 mtime=1700000000\n", 1_700_000_000],
    ["17 mtime=1700.75\n", 1700],
    ["12 mtime=-5\n", 0],
    ["15 mtime=1e999\n", 0],
  ])("takes the time of %j for whole seconds that there are", (record, mtime) => {
    expect(parsePax(Buffer.from(record))).toEqual({ mtime });
  });
});
