import { join } from "node:path";
import { readSmallFile, writeNewFile } from "./durable-file.js";
import { type FileSystem, ifThere, removeFile } from "./file-system.js";
import { isAlive, type ProcessIdentity, parseIdentity } from "./process-identity.js";

export interface LeaseFolderOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly self: ProcessIdentity;
  /** A new random name each time. */
  readonly random: () => string;
  /** ms since 1970 */
  readonly clock: () => number;
}

/** Of another host's process nobody can know whether it lives: its lease ends by itself, in ms. */
const foreignLifetime = 24 * 3600 * 1000;

/**
 * Who is in the midst of a transfer: one small file each, with the process and when it began. What was used since the first of them
 * began is not collected, although no image names it yet.
 */
export class LeaseFolder {
  readonly #options: LeaseFolderOptions;

  constructor(options: LeaseFolderOptions) {
    this.#options = options;
  }

  /** @returns Ends the lease. */
  async take(): Promise<() => Promise<void>> {
    const { fs, directory, self, random, clock } = this.#options;
    const path = join(directory, `${random()}.json`);
    const bytes = Buffer.from(JSON.stringify({ ...self, since: clock() }));
    await writeNewFile(fs, path, bytes, { durability: "fast", mode: 0o600 });
    return async () => {
      await removeFile(fs, path).catch(() => {});
    };
  }

  /** When the oldest transfer that is under way began, in ms since 1970; null where none is. Leases of the dead are removed. */
  async oldest(): Promise<number | null> {
    const { fs, directory, self, clock } = this.#options;
    let oldest: number | null = null;
    for (const name of (await ifThere(fs.readdir(directory))) ?? []) {
      const path = join(directory, name);
      const stat = await ifThere(fs.lstat(path));
      if (stat === null) continue;
      const lease = parse(await readSmallFile(fs, path, 4096).catch(() => null));
      // One that is being written at this moment says nothing yet: it began with its file.
      const since = lease?.since ?? stat.ctimeMs;
      const old = clock() - since > foreignLifetime;
      const alive =
        lease === null ? !old : !(old && lease.owner.host !== self.host) && (await isAlive(lease.owner, self));
      if (!alive) await removeFile(fs, path);
      else oldest = Math.min(oldest ?? since, since);
    }
    return oldest;
  }
}

function parse(bytes: Uint8Array | null): { readonly owner: ProcessIdentity; readonly since: number } | null {
  try {
    const value: unknown = bytes === null ? null : JSON.parse(Buffer.from(bytes).toString());
    const owner = parseIdentity(value);
    const since = (value as { since?: unknown } | null)?.since;
    return owner !== null && typeof since === "number" ? { owner, since } : null;
  } catch {
    return null;
  }
}
