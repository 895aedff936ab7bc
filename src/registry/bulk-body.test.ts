import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { ChunkMemory, giveBack } from "../content/lent-chunk.js";
import { BulkBody } from "./bulk-body.js";

const size = 256 * 1024;

function open(length: number) {
  const calls: string[] = [];
  const socket = { resume: () => calls.push("resume"), destroy: () => calls.push("destroy") } as unknown as Socket;
  const body = new BulkBody(
    new ChunkMemory(size),
    () => socket,
    (cause) => cause,
  );
  body.begin(0, length);
  /** As the system does it: a read that fills all the room that there is. */
  const fill = (byte: number): boolean => {
    const room = body.room();
    room.fill(byte);
    return body.take(room.length);
  };
  return { body, calls, fill };
}

async function next(body: BulkBody): Promise<Uint8Array> {
  const { value } = await body.next();
  if (value === undefined) throw new Error("the body has ended");
  return value;
}

describe("a body that is received into large buffers", () => {
  test("makes the connection wait while two of them are full, and goes on when one is read", async () => {
    const { body, calls, fill } = open(10 * size);
    expect([fill(1), fill(2)]).toEqual([true, false]);
    expect(body.isHeldUp).toBe(true);
    expect((await next(body))[0]).toBe(1);
    expect(calls).toEqual(["resume"]);
    expect(fill(3)).toBe(false);
  });

  test("goes on where the head came together with a whole buffer of the body", async () => {
    const body = new BulkBody(
      new ChunkMemory(size),
      () => ({}) as Socket,
      (cause) => cause,
    );
    body.note(size);
    expect(body.begin(100, 10 * size)).toBe(true);
    expect((await next(body)).length).toBe(size - 100);
  });

  test("does not touch a chunk before it is given back, and uses its memory again after that", async () => {
    const { body, fill } = open(100 * size);
    const memories = new Set<ArrayBufferLike>();
    const kept: Uint8Array[] = [];
    for (let round = 1; round <= 20; round += 1) {
      fill(round);
      const chunk = await next(body);
      memories.add(chunk.buffer);
      if (round % 10 === 0) kept.push(chunk);
      else giveBack(chunk);
    }
    expect(kept.map((chunk) => [...new Set(chunk)])).toEqual([[10], [20]]);
    expect(memories.size).toBeLessThanOrEqual(4);
  });

  test("hands what it has to a reader that waits, and fills the rest of the buffer beside it", async () => {
    const { body } = open(2 * size);
    const waiting = next(body);
    body.room().fill(1, 0, 1000);
    body.take(1000);
    const first = await waiting;
    expect([...new Set(first)]).toEqual([1]);
    expect(first.length).toBe(1000);
    giveBack(first);
    body.room().fill(2);
    body.take(size - 1000);
    const second = await next(body);
    expect(second.buffer).toBe(first.buffer);
    expect([second.length, ...new Set(second)]).toEqual([size - 1000, 2]);
  });

  test("gives out what came before a cut, then the error", async () => {
    const { body, calls } = open(2 * size);
    body.room().fill(1, 0, 1000);
    body.take(1000);
    const cut = new Error("cut");
    body.break(cut);
    body.break(new Error("closed"));
    expect((await next(body)).length).toBe(1000);
    await expect(body.next()).rejects.toBe(cut);
    expect(calls).toEqual(["destroy"]);
  });

  test("lets nothing that follows its end into memory that others use", async () => {
    const { body, fill } = open(1000);
    fill(1);
    const last = await next(body);
    expect(last.length).toBe(1000);
    expect(fill(2)).toBe(false);
    expect([...new Set(last)]).toEqual([1]);
    expect(await body.next()).toEqual({ done: true, value: undefined });
  });
});
