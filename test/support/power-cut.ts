import { type FileHandle, readFile, readlink, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type FileSystem, nodeFileSystem } from "../../src/content/file-system.js";

/** What a disk has lost when the power comes back: names that no flush of their folder made safe, or content that no flush did. */
export type Loss = "names" | "content";

/** A file system whose power is cut at call number `cutAt` (from 1): that call and all later ones fail. */
export interface PowerCut {
  readonly fs: FileSystem;
  readonly calls: () => number;
  /** Makes the disk what it may be afterwards. */
  lose(loss: Loss): Promise<void>;
}

interface Moved {
  readonly from: string | null;
  readonly to: string;
  /** What was there before. */
  readonly before: Buffer | null;
}

/** Works on the disk, and remembers what a power cut may undo. It knows what a store does: new files, renames, links, flushes. */
export function powerCut(cutAt: number): PowerCut {
  let calls = 0;
  const unflushed = new Set<string>();
  let moves: Moved[] = [];
  const step = () => {
    calls += 1;
    if (cutAt > 0 && calls >= cutAt) throw Object.assign(new Error("the power is gone"), { code: "EIO" });
  };
  const real = async (path: string): Promise<string> => {
    const pinned = /^(\/proc\/self\/fd\/\d+)(\/.*)?$/.exec(path);
    if (pinned === null) return path;
    return `${await readlink(pinned[1] ?? "")}${pinned[2] ?? ""}`;
  };
  const watched = (handle: FileHandle, path: string): FileHandle =>
    new Proxy(handle, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          if (key === "close") return await value.apply(target, args);
          step();
          const result: unknown = await value.apply(target, args);
          if (["write", "writev", "writeFile"].includes(String(key))) unflushed.add(path);
          if (key === "sync") {
            unflushed.delete(path);
            if ((await stat(path).catch(() => null))?.isDirectory()) {
              moves = moves.filter(({ to }) => dirname(to) !== path);
            }
          }
          return result;
        };
      },
    });
  const note = async (from: string | null, to: string, act: () => Promise<unknown>) => {
    const before = await readFile(to).catch(() => null);
    await act();
    moves.push({ from, to, before });
    if (from === null) return;
    if (unflushed.delete(from)) unflushed.add(to);
  };
  const fs = new Proxy(nodeFileSystem, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        step();
        if (key === "open") {
          return watched((await value(...args)) as FileHandle, await real(String(args[0])));
        }
        if (key === "rename") {
          const [from, to] = [String(args[0]), await real(String(args[1]))];
          return await note(from, to, () => value(...args));
        }
        if (key === "link") return await note(null, String(args[1]), () => value(...args));
        return await value(...args);
      };
    },
  });
  return {
    fs,
    calls: () => calls,
    async lose(loss) {
      if (loss === "content") {
        // A journal of names alone: the file is there with its size, and without its bytes.
        for (const path of unflushed) {
          const size = (await stat(path).catch(() => null))?.size;
          if (size === undefined) continue;
          await truncate(path, 0).catch(() => {});
          await truncate(path, size).catch(() => {});
        }
        return;
      }
      for (const { from, to, before } of moves.toReversed()) {
        if (from !== null) await rename(to, from).catch(() => {});
        else await rm(to, { force: true });
        if (before !== null) await writeFile(to, before);
      }
    },
  };
}
