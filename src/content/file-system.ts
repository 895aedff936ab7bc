import * as node from "node:fs/promises";

/** The calls to the file system that a store or a registry's storage makes: given to it, so that a test can make any of them fail. */
export type FileSystem = Pick<
  typeof node,
  | "chmod"
  | "copyFile"
  | "link"
  | "lstat"
  | "lutimes"
  | "mkdir"
  | "open"
  | "readFile"
  | "readdir"
  | "readlink"
  | "realpath"
  | "rename"
  | "rm"
  | "rmdir"
  | "stat"
  | "statfs"
  | "truncate"
  | "unlink"
  | "utimes"
  | "writeFile"
>;

export const nodeFileSystem: FileSystem = node;

/** The operating system's code of a failed call (`ENOENT`, …). */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** Null where a call fails because the file is not there. */
export async function ifThere<Result>(call: Promise<Result>): Promise<Result | null> {
  try {
    return await call;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return null;
    throw error;
  }
}

/** Deletes a file. False where it was not there. */
export async function removeFile(fs: FileSystem, path: string): Promise<boolean> {
  return (await ifThere(fs.unlink(path).then(() => true))) ?? false;
}
