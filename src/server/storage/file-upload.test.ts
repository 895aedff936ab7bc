import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeFileSystem } from "../../content/file-system.js";
import { FileUpload } from "./file-upload.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lading-upload-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function make(): Promise<FileUpload> {
  await writeFile(join(directory, "data"), "");
  const place = async () => true;
  return new FileUpload(directory, { fs: nodeFileSystem, size: 0, touched: 0, subject: null, durable: false, place });
}

describe("an upload in a file", () => {
  it("takes chunks of any size from a giver that uses its buffer again, in order", async () => {
    const size = fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 70_000 }), fc.integer({ min: 250_000, max: 1_200_000 }));
    await fc.assert(
      fc.asyncProperty(fc.array(size, { maxLength: 12 }), async (sizes) => {
        const upload = await make();
        const shared = Buffer.alloc(1_200_000);
        const pieces = sizes.map((length, index) => Buffer.alloc(length, index + 1));
        await upload.append(
          (async function* () {
            for (const piece of pieces) {
              piece.copy(shared);
              yield shared.subarray(0, piece.length);
              shared.fill(255);
            }
          })(),
        );
        const stored = await readFile(join(directory, "data"));
        expect(upload.size).toBe(stored.length);
        expect(stored.equals(Buffer.concat(pieces))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  it("keeps what came before its source failed", async () => {
    const upload = await make();
    const failing = upload.append(
      (async function* () {
        yield Buffer.from("kept");
        throw new Error("cut");
      })(),
    );
    await expect(failing).rejects.toThrow("cut");
    expect([upload.size, await readFile(join(directory, "data"), "utf8")]).toEqual([4, "kept"]);
  });

  it("fails with what the system says, and counts only what it took", async () => {
    const upload = await make();
    await rm(join(directory, "data"));
    const failing = upload.append(
      (async function* () {
        yield Buffer.alloc(300_000);
      })(),
    );
    await expect(failing).rejects.toMatchObject({ code: "ENOENT" });
    expect(upload.size).toBe(0);
  });
});
