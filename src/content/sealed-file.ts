import type { Stats } from "node:fs";

/**
 * Whether a file may be a blob of two stores at once: nobody may write it, and it is this user's, so that nobody else
 * can change that. Where the system knows no such modes, no file is.
 */
export function isSealed(stat: Stats): boolean {
  const user = process.getuid?.();
  return stat.isFile() && (stat.mode & 0o222) === 0 && stat.uid === user;
}
