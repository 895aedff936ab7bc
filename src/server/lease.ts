import { randomUUID } from "node:crypto";
import { LadingError } from "../errors.js";
import { decodeRecord, encodeRecord, type Storage } from "./storage/storage.js";

interface LeaseRecord {
  readonly owner: string;
  readonly purpose: string;
  /** ms since the epoch. */
  readonly expires: number;
}

const [folder, name] = ["gc", "lease"];
/** Whoever gives no sign for so long has been killed, in ms. */
const duration = 60_000;

export interface Lease {
  /**
   * Gives a sign, where the last one was a while ago.
   * @throws LadingError `conflict` where the lease was lost to somebody else
   */
  beat(): Promise<void>;
}

/**
 * Runs what may not run twice at once over the same storage: a collection, or a backup that none may disturb.
 * @throws LadingError `conflict` where something of the kind runs
 */
export async function withLease<T>(
  storage: Storage,
  now: () => number,
  purpose: string,
  task: (lease: Lease) => Promise<T>,
): Promise<T> {
  const owner = randomUUID();
  let last = 0;
  const take = async (): Promise<void> => {
    const found = await storage.read(folder, name);
    const held = found === null ? null : decodeRecord<LeaseRecord>(found.bytes);
    if (held !== null && held.owner !== owner && held.expires > now()) {
      throw new LadingError("conflict", `a ${held.purpose} of this registry is running already`, {
        hint: "wait for its end; one that was killed is forgotten after a minute",
      });
    }
    // whoever paused for so long that another began must not go on
    if (last > 0 && held?.owner !== owner) throw new LadingError("conflict", `this ${purpose} was taken for dead`);
    const bytes = encodeRecord({ owner, purpose, expires: now() + duration } satisfies LeaseRecord);
    const taken =
      found === null
        ? await storage.putIfAbsent(folder, name, bytes)
        : await storage.putIfMatch(folder, name, bytes, found.version);
    if (!taken) throw new LadingError("conflict", `another ${purpose} of this registry has just begun`);
    last = now();
  };
  const alone = <R>(change: () => Promise<R>): Promise<R> => storage.exclusive(`${folder}/${name}`, null, change);
  await alone(take);
  try {
    return await task({
      beat: async () => {
        if (now() - last > duration / 3) await alone(take);
      },
    });
  } finally {
    await alone(async () => {
      const found = await storage.read(folder, name);
      if (found !== null && decodeRecord<LeaseRecord>(found.bytes).owner === owner) {
        await storage.deleteIfMatch(folder, name, found.version);
      }
    }).catch(() => undefined);
  }
}
