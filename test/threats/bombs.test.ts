import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { constants, createDeflateRaw, gzipSync } from "node:zlib";
import { afterEach, beforeAll, beforeEach, expect } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { type Client, isLadingError, openClient } from "../../src/index.js";
import { failureOf } from "../cli/failure.js";
import { Machine } from "../cli/machine.js";
import { faultyLading } from "../faults/faulty-process.js";
import { dockerArchiveEntries, file, hostileTar } from "../support/hostile-tar.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { threat } from "./threat.js";

// Rows C8 and C9: streams that unpack to more than anybody has, and streams that end too early.

const mebibyte = 1024 * 1024;
let machine: Machine;
let client: Client;
beforeEach(async () => {
  machine = await Machine.create();
  client = await openClient({ env: machine.env });
});
afterEach(async () => {
  await client.close();
  await machine.remove();
});

/** Sixteen mebibytes of zeros, deflated so that they can be said again and again in one stream. */
let zeros: Buffer;
beforeAll(async () => {
  const deflate = createDeflateRaw();
  const parts: Buffer[] = [];
  deflate.on("data", (part: Buffer) => parts.push(part));
  deflate.write(Buffer.alloc(16 * mebibyte));
  await new Promise<void>((resolve) => deflate.flush(constants.Z_FULL_FLUSH, resolve));
  zeros = Buffer.concat(parts);
});

/** A tar whose one entry says that it has `size` bytes, without them. */
const entry = (size: number) => hostileTar([{ name: "zeros", pax: { size: String(size) } }], 0);
const gibibytes = (count: number) => count * 1024 * mebibyte;

/** A gzip stream of one member: a head, and zeros without end. */
function gzipBomb(head: Uint8Array, size: number): Buffer {
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
  const stored = Buffer.alloc(5);
  stored.writeUInt16LE(head.length, 1);
  stored.writeUInt16LE(~head.length & 0xffff, 3);
  return Buffer.concat([header, stored, head, ...Array.from({ length: size / (16 * mebibyte) }, () => zeros)]);
}

function memberBomb(head: Uint8Array, size: number): Buffer {
  const member = gzipSync(Buffer.alloc(16 * mebibyte));
  return Buffer.concat([gzipSync(head), ...Array.from({ length: size / (16 * mebibyte) }, () => member)]);
}

/** @param window Its exponent over 1 KiB, as the header has it: 10 is 1 MiB. */
function zstdFrame(blocks: readonly Buffer[], window = 10): Buffer {
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, window << 3]), ...blocks]);
}
const zstdBlock = (kind: 0 | 1, bytes: Uint8Array, size: number, last = false): Buffer => {
  const header = (size << 3) | (kind << 1) | (last ? 1 : 0);
  return Buffer.concat([Buffer.from([header & 255, (header >> 8) & 255, header >> 16]), bytes]);
};
function zstdBomb(head: Uint8Array, size: number, window?: number): Buffer {
  const run = zstdBlock(1, Buffer.from([0]), 128 * 1024);
  const runs = Array.from({ length: size / (128 * 1024) }, () => run);
  return zstdFrame([zstdBlock(0, head, head.length), ...runs], window);
}

const bombs = { gzip: gzipBomb, "gzip of many members": memberBomb, zstd: zstdBomb } as const;

for (const [kind, make] of Object.entries(bombs)) {
  threat("C8", `a bomb of ${kind} ends at a limit, in little memory`, async () => {
    const path = join(machine.home, "bomb");
    const run = async (...args: readonly string[]) => await faultyLading(machine, [...args, "--json"]);
    // An honest one that moves some megabytes has buffers, too.
    const honest = gzipSync(hostileTar([{ name: "a", body: randomBytesOf("honest", 32 * mebibyte) }]), { level: 1 });
    await writeFile(path, gzipSync(hostileTar(dockerArchiveEntries([honest], [])), { level: 1 }));
    const ordinary = await run("load", path);
    // Its diff ID is not that of the compressed bytes; by then all of it has passed.
    expect(failureOf(ordinary)).toMatchObject({ code: "digest-mismatch" });
    // The archive itself, and a layer in it whose diff ID is wanted.
    await writeFile(path, make(entry(gibibytes(60)), gibibytes(6)));
    const outer = await run("load", path);
    await writeFile(path, hostileTar(dockerArchiveEntries([make(entry(gibibytes(60)), gibibytes(6))], ["app:2"])));
    const layer = await run("load", path);
    for (const { code, stdout, stderr, report } of [outer, layer]) {
      expect(failureOf({ code, stdout, stderr })).toMatchObject({ code: "limit-exceeded", exit: 65 });
      expect(report.peak).toBeLessThan(ordinary.report.peak + 64 * mebibyte);
    }
    expect(await new LayoutStore(machine.store).entries()).toEqual([]);
  });
}

threat("C8", "a zstd window larger than any honest one is refused before it is allocated", async () => {
  const path = join(machine.home, "bomb");
  // 2 ** (10 + 20): a gibibyte.
  await writeFile(path, zstdBomb(entry(gibibytes(1)), 64 * mebibyte, 20));
  const { code, stdout, stderr, report } = await faultyLading(machine, ["load", path, "--json"]);
  expect(failureOf({ code, stdout, stderr })).toMatchObject({ code: "limit-exceeded" });
  expect(report.peak).toBeLessThan(256 * mebibyte);
});

threat(
  "C8",
  "import: a file that the disk has no room for is refused before its first byte, a bomb at its limit",
  async () => {
    const path = join(machine.home, "bomb");
    await writeFile(path, gzipBomb(entry(2 ** 50), gibibytes(2)));
    const full = await machine.lading(["import", path, "app:1", "--json"]);
    expect(failureOf(full)).toMatchObject({ code: "no-space", side: "destination" });
    // A folder costs nothing to keep: only what comes out of the stream is counted.
    await writeFile(path, gzipBomb(hostileTar([{ name: "a/", flag: "5" }], 0), gibibytes(2)));
    const bomb = await machine.lading(["import", path, "app:1", "--json"]);
    expect(failureOf(bomb)).toMatchObject({ code: "limit-exceeded" });
  },
);

threat("C9", "an archive or a layer that is cut at any kibibyte ends, and says that it was cut", async () => {
  const layer = hostileTar([
    file("noise", Buffer.from(randomBytesOf("noise", 24_000)).toString("base64").slice(0, 24_000)),
  ]);
  const archive = hostileTar(dockerArchiveEntries([layer], ["app:1"]));
  const whole: Readonly<Record<string, Buffer>> = {
    gzip: gzipSync(archive),
    zstd: zstdFrame([
      ...Array.from({ length: Math.floor(archive.length / 1500) }, (_, index) =>
        zstdBlock(0, archive.subarray(index * 1500, index * 1500 + 1500), 1500),
      ),
      zstdBlock(0, archive.subarray(Math.floor(archive.length / 1500) * 1500), archive.length % 1500, true),
    ]),
    "a layer": gzipSync(layer),
  };
  const load = async (bytes: Uint8Array): Promise<string | null> => {
    const source = async function* () {
      yield bytes;
    };
    try {
      // Against hanging alone.
      await client.local.load(source(), { signal: AbortSignal.timeout(50_000) });
      return null;
    } catch (error) {
      if (!isLadingError(error)) throw error;
      return error.code;
    }
  };
  for (const [kind, bytes] of Object.entries(whole)) {
    const wrap = (cut: Buffer) => (kind === "a layer" ? hostileTar(dockerArchiveEntries([cut], [])) : cut);
    for (let length = 1024; length < bytes.length; length += 1024) {
      expect([kind, length, await load(wrap(bytes.subarray(0, length)))]).toEqual([kind, length, "archive-invalid"]);
    }
    expect(bytes.length).toBeGreaterThan(16 * 1024);
  }
  for (const kind of ["gzip", "zstd"]) expect(await load(whole[kind] ?? randomBytes(1))).toBeNull();
});
