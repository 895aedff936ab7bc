import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { pipeline } from "node:stream/promises";

export interface StoredBlobFile {
  readonly path: string;
  readonly digest: string;
}

/** `blobs/<alg>/<hex>` of an OCI layout, `blobs/<alg>/<he>/<hex>` of our registry, `…/<hex>/data` of Debian's. */
const place = /(?:^|\/)blobs\/(sha256|sha512)\/(?:[0-9a-f]{2}\/)?([0-9a-f]{64,128})(?:\/data)?$/;

/** Every file below a folder, relative to it and with forward slashes; none where there is no folder. */
export async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

/** The blobs that a store's or a registry's folder holds, by the names of their files. */
export async function storedBlobs(folder: string): Promise<readonly StoredBlobFile[]> {
  return (await filesBelow(folder)).flatMap((file) => {
    const [, algorithm, hex] = place.exec(file) ?? [];
    return hex === undefined ? [] : [{ path: join(folder, file), digest: `${algorithm}:${hex}` }];
  });
}

/** N1: what does not hash to its name. Files under `blobs/` that no name of a blob fits are wrong too. */
export async function wrongBlobs(from: string | ReadonlyMap<string, Uint8Array>): Promise<readonly string[]> {
  if (typeof from !== "string") {
    return [...from].flatMap(([digest, bytes]) => {
      const [algorithm = "", hex] = digest.split(":");
      return createHash(algorithm).update(bytes).digest("hex") === hex ? [] : [digest];
    });
  }
  const wrong: string[] = [];
  const blobs = await storedBlobs(from);
  for (const { path, digest } of blobs) {
    const [algorithm = "", hex] = digest.split(":");
    const hash = createHash(algorithm);
    await pipeline(createReadStream(path), hash);
    if (hash.digest("hex") !== hex) wrong.push(path);
  }
  const known = new Set(blobs.map(({ path }) => path));
  for (const file of await filesBelow(from)) {
    if (/^blobs\//.test(file) && !known.has(join(from, file))) wrong.push(join(from, file));
  }
  return wrong;
}
