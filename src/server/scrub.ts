import type { Digest } from "../oci/digest.js";
import { checkBlobs } from "./blob-check.js";
import type { Context } from "./context.js";
import { ReadRate } from "./read-rate.js";
import { encodeRecord, readRecord, type Storage } from "./storage/storage.js";

/** Options of a scrub. */
export interface ScrubOptions {
  /** Bytes read in a second at most. @default no bound */
  readonly rate?: number | null | undefined;
  readonly signal?: AbortSignal | null | undefined;
}

/** What a scrub has read, and what it took out of reach. */
export interface ScrubReport {
  readonly blobs: number;
  readonly bytes: number;
  /** Those whose bytes were not what their digest says. */
  readonly quarantined: readonly Digest[];
  /** Those that could not be read. They are left where they are. */
  readonly unreadable: readonly Digest[];
}

interface ScrubRecord {
  /** When one last came to its end, or the folder was first looked at. RFC 3339. */
  readonly finished: string;
  /** How far one is that was broken off. */
  readonly after: Digest | null;
}

const [folder, name] = ["gc", "scrub"];
/** How often it is noted how far one is, in ms. */
const noteEvery = 60_000;

const readScrub = (storage: Storage) => readRecord<ScrubRecord>(storage, folder, name);

async function note(storage: Storage, finished: number, after: Digest | null): Promise<void> {
  const record: ScrubRecord = { finished: new Date(finished).toISOString(), after };
  await storage.exclusive(`${folder}/${name}`, null, () => storage.put(folder, name, encodeRecord(record)));
}

/** Reads every blob, and takes those out of reach that are not what their digest says: so that a push repairs them. */
export async function scrub({ storage, now, onError }: Context, options: ScrubOptions = {}): Promise<ScrubReport> {
  const { rate, signal } = options;
  const before = await readScrub(storage);
  const finished = before === null ? now() : Date.parse(before.finished);
  let after = before?.after ?? null;
  let noted = now();
  const report = { blobs: 0, bytes: 0, quarantined: [] as Digest[], unreadable: [] as Digest[] };
  const reading = { after, quarantine: true, signal, rate: new ReadRate(rate ?? null) };
  try {
    for await (const { digest, bytes, problem, quarantined } of checkBlobs({ storage, onError }, reading)) {
      report.blobs++;
      report.bytes += bytes;
      after = digest;
      if (quarantined) report.quarantined.push(digest);
      if (problem === "blob-unreadable") report.unreadable.push(digest);
      if (now() - noted < noteEvery) continue;
      noted = now();
      await note(storage, finished, after);
    }
  } catch (error) {
    await note(storage, finished, after).catch(onError);
    throw error;
  }
  await noteScrubbed(storage, now());
  return report;
}

/** All has been read. */
export async function noteScrubbed(storage: Storage, now: number): Promise<void> {
  await note(storage, now, null);
}

/** When a scrub last came to its end, ms since the epoch; for a registry that is new, when this was first asked. */
export async function lastScrubbed({ storage, now }: Context): Promise<number> {
  const record = await readScrub(storage);
  // what was written just now is not read again at once
  if (record === null) await noteScrubbed(storage, now());
  return record === null ? now() : Date.parse(record.finished);
}
