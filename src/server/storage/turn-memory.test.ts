import { describe, expect, it } from "vitest";
import { TurnMemory } from "./turn-memory.js";

/** A thing that is read and changed as told, in turns that begin and end as told. */
function stage() {
  let turn: object | null = {};
  let value = "first";
  let looks = 0;
  const memory = new TurnMemory<string>(() => turn);
  return {
    memory,
    begin: () => {
      turn = {};
    },
    end: () => {
      turn = null;
    },
    changeBehindItsBack: (to: string) => {
      value = to;
    },
    looks: () => looks,
    read: () =>
      memory.read("thing", async () => {
        looks++;
        return value;
      }),
    change: (to: string, during: () => Promise<void> = async () => {}) =>
      memory.change("thing", to, async () => {
        await during();
        value = to;
      }),
  };
}

describe("what is remembered in a turn", () => {
  it("is read once, and anew in the next turn", async () => {
    const { read, looks, begin, changeBehindItsBack } = stage();
    expect([await read(), await read(), looks()]).toEqual(["first", "first", 1]);
    changeBehindItsBack("second");
    begin();
    expect([await read(), await read(), looks()]).toEqual(["second", "second", 2]);
  });

  it("is nothing while others may write", async () => {
    const { read, looks, begin, end, changeBehindItsBack } = stage();
    await read();
    end();
    changeBehindItsBack("second");
    expect([await read(), await read(), looks()]).toEqual(["second", "second", 3]);
    // what was read without a turn is not of the next one
    begin();
    changeBehindItsBack("third");
    expect(await read()).toBe("third");
  });

  it("is what was written, without another look", async () => {
    const { read, change, looks } = stage();
    await change("second");
    expect([await read(), looks()]).toEqual(["second", 0]);
  });

  it("is looked for while it changes, and not kept: it may be what was before", async () => {
    const { read, change } = stage();
    const seen: string[] = [];
    await change("second", async () => {
      seen.push(await read());
    });
    expect([...seen, await read()]).toEqual(["first", "second"]);
  });

  it("forgets what a reader has begun to look for before it changed", async () => {
    const { memory, change } = stage();
    let found: (value: string) => void = () => {};
    const slow = memory.read("thing", () => new Promise((resolve) => (found = resolve)));
    await change("second");
    found("first");
    expect(await slow).toBe("first");
    expect(await memory.read("thing", async () => "looked")).toBe("second");
  });

  it("is looked for after a change or a look that failed, and after a change that was none", async () => {
    const { memory, read, changeBehindItsBack } = stage();
    const failing = async (): Promise<never> => {
      throw new Error("disk");
    };
    await expect(memory.read("thing", failing)).rejects.toThrow("disk");
    expect(await read()).toBe("first");
    await expect(memory.change("thing", "second", failing)).rejects.toThrow("disk");
    changeBehindItsBack("third");
    expect(await read()).toBe("third");
    await memory.change("thing", "fourth", async () => false);
    expect(await read()).toBe("third");
  });
});
