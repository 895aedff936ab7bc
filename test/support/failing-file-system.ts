import type { FileHandle } from "node:fs/promises";
import { type FileSystem, nodeFileSystem } from "../../src/content/file-system.js";

/** Calls that change something or promise that it is safe; the ones whose failure matters most. */
const handleCalls: ReadonlySet<string> = new Set(["write", "writev", "writeFile", "sync", "chmod", "read", "readFile"]);

/** A file system whose call number `failAt` (from 1) fails with an errno; the others reach the disk. */
export function failingFileSystem(
  errno: string,
  failAt: number,
): { readonly fs: FileSystem; readonly calls: () => number } {
  let calls = 0;
  const step = (name: string) => {
    calls += 1;
    if (calls === failAt) throw Object.assign(new Error(`${errno}: injected into ${name}`), { code: errno });
  };
  const wrapHandle = (handle: FileHandle): FileHandle =>
    new Proxy(handle, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          if (handleCalls.has(String(key))) step(String(key));
          return await value.apply(target, args);
        };
      },
    });
  const fs = new Proxy(nodeFileSystem, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        step(String(key));
        const result: unknown = await value(...args);
        return key === "open" ? wrapHandle(result as FileHandle) : result;
      };
    },
  });
  return { fs, calls: () => calls };
}
