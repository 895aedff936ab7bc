import { describe, expect, it } from "vitest";
import { KeyedMutex } from "./mutex.js";

/** Tasks that end when they are told to, and a log of what ran. */
function stage() {
  const mutex = new KeyedMutex();
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  const task = (name: string) => async () => {
    log.push(`${name} begins`);
    await new Promise<void>((resolve) => ends.set(name, resolve));
    log.push(`${name} ends`);
    return name;
  };
  const end = async (name: string) => {
    ends.get(name)?.();
    await settle();
  };
  return { mutex, log, task, end };
}

const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

describe("a mutex with keys", () => {
  it("runs tasks of one key one after the other, of two side by side", async () => {
    const { mutex, log, task, end } = stage();
    const all = [mutex.run("a", task("one")), mutex.run("a", task("two")), mutex.run("b", task("other"))];
    await settle();
    expect(log).toEqual(["one begins", "other begins"]);
    await end("one");
    expect(log.slice(2)).toEqual(["one ends", "two begins"]);
    await end("two");
    await end("other");
    expect(await Promise.all(all)).toEqual(["one", "two", "other"]);
  });

  it("lets those that share a key run together, never beside one that is alone, nor past one that waits to be", async () => {
    const { mutex, log, task, end } = stage();
    const all = [
      mutex.share("a", task("first")),
      mutex.share("a", task("second")),
      mutex.run("a", task("alone")),
      mutex.share("a", task("late")),
    ];
    await settle();
    expect(log).toEqual(["first begins", "second begins"]);
    await end("second");
    await end("first");
    expect(log.slice(2)).toEqual(["second ends", "first ends", "alone begins"]);
    await end("alone");
    expect(log.slice(5)).toEqual(["alone ends", "late begins"]);
    await end("late");
    await Promise.all(all);
  });

  it("goes on after a task that fails", async () => {
    const mutex = new KeyedMutex();
    const fail = async () => {
      throw new Error("no");
    };
    const failed = [mutex.run("a", fail), mutex.share("a", fail)].map((task) => task.catch(() => "failed"));
    expect(await Promise.all([...failed, mutex.run("a", async () => "well")])).toEqual(["failed", "failed", "well"]);
  });
});
