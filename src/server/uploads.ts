import { randomUUID } from "node:crypto";
import { errnoOf } from "../content/file-system.js";
import { ioError } from "../errors.js";
import { isRepositoryPath } from "../image/reference.js";
import { type Digest, type DigestAlgorithm, digestAlgorithm, digestOf, isDigest } from "../oci/digest.js";
import type { WireRequest, WireResponse } from "../oci/wire.js";
import { asked, bodyOf, type Context, type Exchange } from "./context.js";
import { Fault } from "./fault.js";
import { linkBlob, listLinked, readLink } from "./links.js";
import { withinRoom } from "./quotas.js";
import { reply } from "./reply.js";
import type { Route } from "./route.js";
import type { UploadSession } from "./upload-session.js";
import { uploadUnknown } from "./upload-sessions.js";

type StartRoute = Extract<Route, { endpoint: "uploads" | "tags" }>;
type UploadRoute = Extract<Route, { endpoint: "upload" }>;

function checkedDigest(text: string | null): Digest {
  if (isDigest(text)) return text;
  throw new Fault(400, "DIGEST_INVALID", "expected the parameter digest as sha256:<64 hex> or sha512:<128 hex>");
}

function checkedAlgorithm(text: string | null): DigestAlgorithm {
  if (text === null || text === "sha256" || text === "sha512") return text ?? "sha256";
  throw new Fault(400, "DIGEST_INVALID", "the digest algorithms here are sha256 and sha512");
}

/** Where the session is, and how much of it. A range of nothing can't be written: `0-0` stands for it. */
function sessionHeaders(session: UploadSession, size: number, { prefix }: Context): Record<string, string> {
  return {
    location: `${prefix}/v2/${session.repository}/blobs/uploads/${session.id}`,
    range: `0-${Math.max(0, size - 1)}`,
    "docker-upload-uuid": session.id,
  };
}

function created(repository: string, digest: Digest, { prefix }: Context): WireResponse {
  return reply(201, {
    location: `${prefix}/v2/${repository}/blobs/${digest}`,
    "docker-content-digest": digest,
  });
}

/** Starts an upload, mounts a blob, or takes a whole blob at once. */
export async function postUpload(
  route: StartRoute,
  { request, principal }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const { storage, sessions, limits } = context;
  const { repository, query } = route;
  const digestText = query.get("digest");
  const digest = digestText === null ? null : checkedDigest(digestText);
  const algorithm = digest === null ? checkedAlgorithm(query.get("digest-algorithm")) : digestAlgorithm(digest);
  const mount = query.get("mount");
  if (mount !== null && isDigest(mount) && (await mounted(repository, mount, query.get("from"), request, context))) {
    return created(repository, mount, context);
  }
  if ((await storage.countUploads(repository)) >= limits.uploads) {
    throw new Fault(429, "TOOMANYREQUESTS", "the repository has too many open uploads", {
      headers: { "retry-after": "60" },
    });
  }
  const session = await sessions.create(repository, randomUUID(), principal.subject, algorithm);
  // a client that announces a digest and sends nothing goes on with PUT
  const nothing = request.headers["content-length"] === "0" && digest !== digestOf("", algorithm);
  if (digest === null || nothing) return reply(202, sessionHeaders(session, 0, context));
  try {
    return await session.write(async (stopped) => {
      await append(session, request, stopped, context);
      return await finish(session, digest, request, context);
    });
  } catch (error) {
    // nobody was told of the session, so nobody can go on with it
    await drop(session, sessions);
    throw error;
  }
}

/** True where the blob could be linked from `from`, or from any repository that the caller may read. */
async function mounted(
  repository: string,
  digest: Digest,
  from: string | null,
  request: WireRequest,
  context: Context,
): Promise<boolean> {
  const { storage, authorize } = context;
  const size = await storage.blobSize(digest);
  if (size === null) return false;
  const readable = async (candidate: string): Promise<boolean> =>
    (await readLink(storage, candidate, digest)) !== null &&
    (
      await authorize(
        asked(request, { action: "pull", repository: candidate, purpose: from === null ? "list" : "mount" }),
      )
    ).allowed;
  const find = async (): Promise<boolean> => {
    if (from !== null) return isRepositoryPath(from) && (await readable(from));
    if (context.automaticMount === "no") return false;
    if (context.automaticMount === "anywhere") return true;
    for (const candidate of await listLinked(storage)) if (await readable(candidate)) return true;
    return false;
  };
  if (!(await find())) return false;
  const blob = { repository, digest, size, signal: request.signal };
  return await linkBlob(context, blob, async () => (await storage.reviveBlob(digest)) !== null);
}

/** The bytes are all there: checks them and makes them a blob of the repository. */
async function finish(
  session: UploadSession,
  digest: Digest,
  request: WireRequest,
  context: Context,
): Promise<WireResponse> {
  const { sessions } = context;
  const { size, repository } = session;
  if ((await session.digest(digestAlgorithm(digest))) !== digest) {
    sessions.forget(session);
    await session.remove();
    throw new Fault(400, "DIGEST_INVALID", "the uploaded bytes do not have the digest given");
  }
  await session.sync();
  try {
    const linked = await linkBlob(context, { repository, digest, size, signal: request.signal }, async () => {
      await session.commit(digest);
      return true;
    });
    if (!linked) throw uploadUnknown();
  } catch (error) {
    if (isDiskFull(error)) await drop(session, sessions);
    throw error;
  } finally {
    // where that failed, what is left of it is found in the storage
    sessions.forget(session);
  }
  return created(repository, digest, context);
}

interface Chunk {
  readonly start: number;
  /** Bytes. */
  readonly length: number;
}

/** `<start>-<end>`; the `bytes ` before it and the size behind it, which some clients send, are accepted. */
function parseContentRange({ headers }: WireRequest): Chunk | null {
  const text = headers["content-range"];
  if (text === undefined) return null;
  const match = /^(?:bytes[ =])?([0-9]{1,15})-([0-9]{1,15})(?:\/(?:[0-9]+|\*))?$/.exec(text.trim());
  const [start, end] = [Number(match?.[1]), Number(match?.[2])];
  const length = end - start + 1;
  const announced = headers["content-length"];
  // an empty chunk has no honest range; clients write `0-0` or a last position before the first
  if (match !== null && announced === "0" && length <= 1) return { start, length: 0 };
  if (match === null || length < 1) {
    throw new Fault(400, "BLOB_UPLOAD_INVALID", "expected Content-Range as <first byte>-<last byte>");
  }
  if (announced !== undefined && Number(announced) !== length) {
    throw new Fault(400, "SIZE_INVALID", "Content-Range and Content-Length do not agree");
  }
  return { start, length };
}

/**
 * Takes a body in, as long as the owner's quota has room for the upload. It is decided at the end; here it ends early.
 * @throws Fault
 */
async function append(
  session: UploadSession,
  request: WireRequest,
  stopped: AbortSignal,
  { quotas, sessions }: Context,
): Promise<void> {
  const before = session.size;
  const room = await quotas.room(session.repository);
  const refusal: { fault: Fault | null } = { fault: null };
  const body = bodyOf(request);
  const tooMuch = async (): Promise<Fault> => {
    refusal.fault = await quotas.reached(session.repository, session.size);
    return refusal.fault;
  };
  try {
    await session.append(room === null ? body : withinRoom(body, room - before, tooMuch), stopped);
  } catch (error) {
    // only now: what had come before it was still being written
    if (refusal.fault !== null) await drop(session, sessions);
    // what has filled the disk goes, or nobody could delete anything: that takes some room too
    else if (isDiskFull(error)) await session.rewind(before).catch(() => undefined);
    throw refusal.fault ?? error;
  }
}

async function drop(session: UploadSession, sessions: Context["sessions"]): Promise<void> {
  sessions.forget(session);
  await session.remove().catch(() => undefined);
}

function isDiskFull(error: unknown): boolean {
  return ioError(error, "").code === "no-space";
}

/** Takes the body of a PATCH or PUT in, at the place that it says it belongs to. */
async function receive(
  session: UploadSession,
  request: WireRequest,
  stopped: AbortSignal,
  context: Context,
): Promise<void> {
  const chunk = parseContentRange(request);
  if (chunk !== null && !(await session.seek(chunk.start))) {
    throw new Fault(416, "BLOB_UPLOAD_INVALID", "the chunk does not begin where the upload ends", {
      headers: sessionHeaders(session, session.size, context),
    });
  }
  const before = session.size;
  await append(session, request, stopped, context);
  if (chunk !== null && session.size - before !== chunk.length) {
    await session.rewind(before);
    throw new Fault(400, "SIZE_INVALID", "the chunk has not the length that its Content-Range says", {
      headers: sessionHeaders(session, session.size, context),
    });
  }
}

/** One that was swept at the very moment when its client came back is not there, and that is what it is told. */
async function whileThere<T>(
  session: UploadSession,
  { storage, sessions }: Context,
  task: () => Promise<T>,
): Promise<T> {
  try {
    return await task();
  } catch (error) {
    // any other failure is the disk's, and is said as that
    const missing = [error, (error as Error).cause].some((one) => errnoOf(one) === "ENOENT");
    if (!missing || (await storage.openUpload(session.repository, session.id)) !== null) throw error;
    sessions.forget(session);
    throw uploadUnknown();
  }
}

/** A chunk, or a stream of everything where no `Content-Range` is given (as docker sends it). */
export async function patchUpload(
  { repository, uploadId }: UploadRoute,
  { request, principal }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const session = await context.sessions.find(repository, uploadId, principal.subject);
  return await session.write(async (stopped) => {
    await whileThere(session, context, () => receive(session, request, stopped, context));
    return reply(202, sessionHeaders(session, session.acknowledge(), context));
  });
}

/** Closes an upload, perhaps with its last chunk. */
export async function putUpload(
  { repository, uploadId, query }: UploadRoute,
  { request, principal }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const digest = checkedDigest(query.get("digest"));
  const session = await context.sessions.find(repository, uploadId, principal.subject);
  return await session.write(async (stopped) => {
    return await whileThere(session, context, async () => {
      await receive(session, request, stopped, context);
      return await finish(session, digest, request, context);
    });
  });
}

/** How far the upload is. Tolerates whatever parameters the URL of a failed request carries. */
export async function getUpload(
  { repository, uploadId }: UploadRoute,
  { principal }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const session = await context.sessions.find(repository, uploadId, principal.subject);
  return reply(204, sessionHeaders(session, session.acknowledge(), context));
}

/** Cancels an upload. */
export async function deleteUpload(
  { repository, uploadId }: UploadRoute,
  { principal }: Exchange,
  { sessions }: Context,
): Promise<WireResponse> {
  const session = await sessions.find(repository, uploadId, principal.subject);
  return await session.write(async () => {
    sessions.forget(session);
    await session.remove();
    return reply(204);
  });
}
