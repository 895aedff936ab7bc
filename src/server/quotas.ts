import { LadingError } from "../errors.js";
import { isRepositoryPath } from "../image/reference.js";
import { Fault } from "./fault.js";
import type { LinkRecord } from "./links.js";
import type { ManifestRecord } from "./manifest-record.js";
import { KeyedMutex } from "./mutex.js";
import { decodeRecord, encodeRecord, readRecord, repositoriesOf, type Storage } from "./storage/storage.js";

/** How much the repositories of an owner may hold. */
export interface Quota {
  /** The first component of their names. */
  readonly owner: string;
  /** The most that they may hold, in bytes; null where there is no bound. */
  readonly bytes: number | null;
  /** What they hold: every blob once for each repository that has it, and every manifest. */
  readonly used: number;
}

const folder = "meta/quotas";
const all = { after: null, limit: Number.POSITIVE_INFINITY } as const;
/** Another process may write too: a count is believed for so long, in ms. */
const believed = 60_000;

interface Count {
  used: number;
  readonly counted: number;
}

const ownerOf = (repository: string): string => repository.split("/", 1)[0] ?? "";

/** @throws LadingError `usage` */
function checkedOwner(owner: string): string {
  if (isRepositoryPath(owner) && !owner.includes("/")) return owner;
  throw new LadingError(
    "usage",
    `${JSON.stringify(owner)} is no owner: it is the first component of a repository's name`,
  );
}

/**
 * Bounds on what owners hold. Only an owner with a quota is counted, by their links, when it is needed; so there is
 * no record that every push would have to change.
 */
export class Quotas {
  readonly #storage: Storage;
  readonly #now: () => number;
  readonly #counts = new Map<string, Count>();
  /** Of one owner: what is being written is not missed by whoever counts meanwhile. */
  readonly #turns = new KeyedMutex();

  constructor(storage: Storage, now: () => number) {
    this.#storage = storage;
    this.#now = now;
  }

  /** @throws LadingError `usage` */
  async set(owner: string, bytes: number): Promise<Quota> {
    checkedOwner(owner);
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new LadingError("usage", "a quota is a number of bytes");
    await this.#storage.exclusive(folder, null, () => this.#storage.put(folder, owner, encodeRecord({ bytes })));
    return { owner, bytes, used: await this.#count(owner) };
  }

  /** False where there was none. */
  async remove(owner: string): Promise<boolean> {
    checkedOwner(owner);
    return await this.#storage.exclusive(folder, null, () => this.#storage.delete(folder, owner));
  }

  /** Every owner, with and without a bound, by name. */
  async list(): Promise<readonly Quota[]> {
    const owners = new Set(await this.#storage.list(folder, all));
    for await (const repository of repositoriesOf(this.#storage)) owners.add(ownerOf(repository));
    const quotas: Quota[] = [];
    for (const owner of [...owners].sort()) {
      quotas.push({ owner, bytes: await this.#limit(owner), used: await this.#count(owner) });
    }
    return quotas;
  }

  /** How much more an owner may hold, in bytes; null where there is no bound. */
  async room(repository: string): Promise<number | null> {
    const owner = ownerOf(repository);
    const limit = await this.#limit(owner);
    if (limit === null) return null;
    return await this.#turns.run(owner, async () => {
      const { used, counted } = await this.#known(owner);
      const left = limit - used;
      // whoever seems to have none may have deleted something through another process
      return left > 0 || counted === this.#now() ? left : limit - (await this.#known(owner, true)).used;
    });
  }

  /**
   * Writes a record that gives a repository so many bytes more. Owners with a quota write one after the other, so that
   * two together don't get what there is room for once.
   * @throws Fault where it is too much
   */
  async reserve<T>(repository: string, bytes: number, write: () => Promise<T>): Promise<T> {
    const owner = ownerOf(repository);
    const limit = await this.#limit(owner);
    if (limit === null) return await write();
    return await this.#turns.run(owner, async () => {
      let count = await this.#known(owner);
      if (count.used + bytes > limit) count = await this.#known(owner, true);
      if (count.used + bytes > limit) throw quotaReached(owner, limit, count.used, bytes);
      count.used += bytes;
      return await write();
    });
  }

  /** What is answered where `wanted` bytes are too many. */
  async reached(repository: string, wanted: number): Promise<Fault> {
    const owner = ownerOf(repository);
    return quotaReached(owner, (await this.#limit(owner)) ?? 0, (await this.#known(owner)).used, wanted);
  }

  /** Something of an owner has gone: the next one to ask counts again. */
  forget(repository: string): void {
    this.#counts.delete(ownerOf(repository));
  }

  async #limit(owner: string): Promise<number | null> {
    return (await readRecord<{ readonly bytes: number }>(this.#storage, folder, owner))?.bytes ?? null;
  }

  async #known(owner: string, again = false): Promise<Count> {
    const found = this.#counts.get(owner);
    if (found !== undefined && !again && this.#now() - found.counted < believed) return found;
    const count = { used: await this.#count(owner), counted: this.#now() };
    this.#counts.set(owner, count);
    return count;
  }

  async #count(owner: string): Promise<number> {
    let used = 0;
    for await (const path of this.#storage.folders(`repos/${owner}`)) {
      if (!/\/_(?:links|manifests)\/[^/]+$/.test(path)) continue;
      for (const name of await this.#storage.list(path, all)) {
        const bytes = await this.#storage.get(path, name);
        if (bytes !== null) used += decodeRecord<LinkRecord | ManifestRecord>(bytes).size;
      }
    }
    return used;
  }
}

function quotaReached(owner: string, limit: number, used: number, wanted: number): Fault {
  return new Fault(403, "DENIED", `the quota of ${owner} is reached: ${limit} bytes, of which ${used} are in use`, {
    detail: { limit: "quota", owner, quota: limit, used, wanted },
  });
}

/** Passes a body on as long as there is room for it, in bytes. */
export async function* withinRoom(
  source: AsyncIterable<Uint8Array>,
  room: number,
  tooMuch: () => Promise<Fault>,
): AsyncIterable<Uint8Array> {
  let left = room;
  for await (const chunk of source) {
    left -= chunk.length;
    if (left < 0) throw await tooMuch();
    yield chunk;
  }
}
