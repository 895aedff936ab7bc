import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { nodeFileSystem } from "../content/file-system.js";
import { livenessOf, ownIdentity } from "../content/process-identity.js";
import { LadingError } from "../errors.js";
import type { WireHandler } from "../oci/wire.js";
import { writeWhole } from "./storage/durable.js";
import { FilesystemStorage } from "./storage/filesystem.js";
import { FolderLock } from "./storage/folder-lock.js";
import { holdPath, readHold } from "./storage/hold-record.js";

/** Who serves a registry's folder. */
export interface Holder {
  readonly pid: number;
  /** Where it answers. */
  readonly url: string;
  /** What it answers in `Lading-Instance` on `GET /v2/`. */
  readonly instanceId: string;
}

/** A folder that this process holds for itself. */
export interface Hold {
  readonly instanceId: string;
  /** Gives the folder up. May be called more than once. */
  release(): Promise<void>;
}

/**
 * Claims a registry's folder for a server, so that clients go through it from now on. The claim is made under the
 * folder's write lock. A process that had begun to write for itself may end that: server and writers lock the
 * folder for each change alike, so that nothing breaks in between.
 * @throws LadingError `conflict` where a server that lives holds it, `config-invalid` where the folder holds something else
 */
export async function holdFolder(directory: string, { url }: { readonly url: string }): Promise<Hold> {
  const own = await ownIdentity();
  const instanceId = randomUUID();
  const temporary = join(directory, "tmp");
  await new FilesystemStorage(directory, { durable: true }).open({ write: true });
  const lock = new FolderLock(directory);
  await lock.run(null, async () => {
    const holder = await holderOf(directory);
    if (holder !== null) throw heldBy(holder, directory);
    const text = `${JSON.stringify({ ...own, url, instanceId })}\n`;
    await writeWhole(nodeFileSystem, holdPath(directory), new TextEncoder().encode(text), {
      temporary,
      durable: false,
    });
  });
  let released: Promise<void> | null = null;
  const remove = async (): Promise<void> => {
    if ((await readHold(directory))?.instanceId === instanceId) await rm(holdPath(directory), { force: true });
  };
  // a full disk has no room for a lock, and the record is this process's alone
  const release = (): Promise<void> => lock.run(null, remove).catch(remove);
  return {
    instanceId,
    release: () => {
      released ??= release();
      return released;
    },
  };
}

/** The error for a folder that another server serves. */
export function heldBy({ pid, url }: Holder, directory: string): LadingError {
  return new LadingError("conflict", `process ${pid} serves ${directory} already, at ${url}`, {
    hint: "use that server, stop it, or serve another folder with --data",
  });
}

/**
 * The server that holds a folder, or null where none does or the one that did is dead. Takes no lock. Of a server
 * on another machine nothing is known but its record: ask {@link isAnswering}.
 */
export async function holderOf(directory: string): Promise<Holder | null> {
  const record = await readHold(directory);
  if (record === null) return null;
  if ((await livenessOf(record, await ownIdentity())) === "dead") return null;
  const { pid, url, instanceId } = record;
  return { pid, url, instanceId };
}

/**
 * True where the holder answers at its URL, and it is the holder that does. `send` is any way to send a request.
 */
export async function isAnswering(holder: Holder, send: WireHandler, signal?: AbortSignal): Promise<boolean> {
  try {
    const url = `${holder.url.replace(/\/+$/, "")}/v2/`;
    const response = await send({ method: "GET", url, headers: {}, signal: signal ?? null });
    for await (const _ of response.body) {
      // to its end, so that the connection can be used again
    }
    return response.headers["lading-instance"] === holder.instanceId;
  } catch (error) {
    if (signal?.aborted) throw error;
    return false;
  }
}
