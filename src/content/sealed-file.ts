import type { Stats } from "node:fs";
import type { FileHandle } from "node:fs/promises";

/** The last thing that is done to a verified blob: nobody may write it any more, and its time is a whole second. */
export async function sealFile(handle: FileHandle, now: number): Promise<void> {
  await handle.chmod(0o444);
  const seconds = sealTime(now);
  await handle.utimes(seconds, seconds);
}

/**
 * The time that a seal bears, in seconds. Whoever writes to a file leaves a time with a fraction, on every file system that keeps
 * fractions: so a look at the file tells whether it is still what was verified. (It does not tell of a disk that forgets; `lading verify`
 * does.)
 * @param now ms since 1970
 */
export function sealTime(now: number): number {
  return Math.floor(now / 1000);
}

/** False where somebody has written to the file since it was verified, or it was never sealed by us. */
export function bearsSeal(stat: Stats): boolean {
  return stat.mtimeMs % 1000 === 0;
}

/**
 * Whether a file may be a blob of two stores at once: nobody may write it, nobody has, and it is this user's, so that nobody else can
 * change that. Where the system knows no such modes, no file is.
 */
export function isSealed(stat: Stats): boolean {
  const user = process.getuid?.();
  return stat.isFile() && (stat.mode & 0o222) === 0 && stat.uid === user && bearsSeal(stat);
}
