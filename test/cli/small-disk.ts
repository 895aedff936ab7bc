import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system of its own that is soon full. */
export interface SmallDisk {
  readonly path: string;
  unmount(): Promise<void>;
}

/** @param size As mount takes it: `3m`. */
export async function mountSmallDisk(path: string, size: string): Promise<SmallDisk> {
  await mkdir(path, { recursive: true });
  const reason = mount(path, size);
  if (reason !== null) throw new Error(reason);
  return { path, unmount: async () => unmount(path) };
}

/** Why a small disk can't be mounted here, or null. */
export function whyNoSmallDisk(): string | null {
  if (process.platform !== "linux") return "tmpfs is Linux's";
  const path = mkdtempSync(join(tmpdir(), "lading-disk-"));
  const reason = mount(path, "64k");
  if (reason === null) unmount(path);
  rmdirSync(path);
  return reason;
}

function mount(path: string, size: string): string | null {
  const { status, stderr, error } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path], {
    encoding: "utf8",
  });
  return status === 0 ? null : `mount ended with ${status}: ${(stderr || String(error)).trim()}`;
}

function unmount(path: string): void {
  const { status, stderr } = spawnSync("umount", [path], { encoding: "utf8" });
  if (status !== 0) throw new Error(`umount ended with ${status}: ${stderr}`);
}
