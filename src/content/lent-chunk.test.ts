import { expect, test } from "vitest";
import { ChunkMemory, giveBack } from "./lent-chunk.js";

test("memory is filled again once its chunk is given back, and not before", () => {
  const memory = new ChunkMemory(16);
  const first = memory.lend(memory.take(), 16);
  const second = memory.take();
  expect(second.buffer).not.toBe(first.buffer);
  giveBack(first);
  expect(memory.take().buffer).toBe(first.buffer);
  expect(memory.take().buffer).not.toBe(first.buffer);
});

test("neither a part nor a second time gives anything back", () => {
  const memory = new ChunkMemory(16);
  const chunk = memory.lend(memory.take(), 8);
  giveBack(chunk.subarray(0, 4));
  giveBack(new Uint8Array(16));
  expect(memory.take().buffer).not.toBe(chunk.buffer);
  giveBack(chunk);
  giveBack(chunk);
  const again = memory.take();
  expect(again.buffer).toBe(chunk.buffer);
  expect(memory.take().buffer).not.toBe(again.buffer);
});
