import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createZstdCutter } from "./zstd-cutter.js";

/** A frame of blocks that are one byte repeated: four bytes that stand for 128 KiB. */
function frame(blocks: number, checksum: boolean): Buffer {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, checksum ? 4 : 0, 10 << 3]);
  const parts = Array.from({ length: blocks }, (_, index) => {
    const header = ((128 * 1024) << 3) | (1 << 1) | (index === blocks - 1 ? 1 : 0);
    return Buffer.from([header & 255, (header >> 8) & 255, header >> 16, 0]);
  });
  return Buffer.concat([head, ...parts, Buffer.alloc(checksum ? 4 : 0)]);
}
const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

describe("a zstd stream that is cut", () => {
  it("loses nothing, however it comes, and no piece has more than sixteen blocks", () => {
    const frames = fc.array(fc.record({ blocks: fc.integer({ min: 1, max: 70 }), checksum: fc.boolean() }), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 400 }), (list, size) => {
        const whole = Buffer.concat(list.flatMap(({ blocks, checksum }) => [frame(blocks, checksum), skippable]));
        const cut = createZstdCutter();
        const pieces: Uint8Array[] = [];
        for (let at = 0; at < whole.length; at += size) pieces.push(...cut(whole.subarray(at, at + size)));
        expect(Buffer.concat(pieces)).toEqual(whole);
        // Sixteen blocks, and around them what else there is: of each frame its header, its checksum and the part to be skipped.
        const around = list.length * (6 + 4 + skippable.length);
        for (const piece of pieces) expect(piece.byteLength).toBeLessThanOrEqual(16 * 4 + around);
      }),
    );
  });

  it("is refused where it is none, or asks for a window that nobody has", () => {
    expect(() => createZstdCutter()(Buffer.from("no frame"))).toThrow();
    const wide = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 20 << 3]);
    expect(() => createZstdCutter()(wide)).toThrow(expect.objectContaining({ code: "limit-exceeded" }));
    const single = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40]);
    expect(() => createZstdCutter()(single)).toThrow(expect.objectContaining({ code: "limit-exceeded" }));
  });
});
