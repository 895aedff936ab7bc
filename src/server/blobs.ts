import { type Digest, digestHex } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { WireRequest, WireResponse } from "../oci/wire.js";
import type { Context, Exchange } from "./context.js";
import { namesEntityTag } from "./entity-tag.js";
import { Fault } from "./fault.js";
import { readLink, touchLink } from "./links.js";
import { parseRange } from "./range.js";
import { reply, replyStream } from "./reply.js";
import type { Route } from "./route.js";
import { blobScope, folders } from "./storage/storage.js";

type BlobRoute = Extract<Route, { endpoint: "blob" | "referrers" }>;

export function blobUnknown(): Fault {
  return new Fault(404, "BLOB_UNKNOWN", "the repository has no such blob");
}

/** @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs */
export async function getBlob(
  { repository, digest, method }: BlobRoute,
  { request }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const { storage } = context;
  const link = await readLink(storage, repository, digest);
  // whoever asks whether it is there may leave it out of a push
  const wanted = method === "HEAD" && link?.condemned !== undefined;
  const size =
    link === null
      ? null
      : wanted
        ? await revived(repository, digest, request, context)
        : await storage.blobSize(digest);
  if (size === null) throw blobUnknown();
  const etag = `"${digest}"`;
  const headers = { "docker-content-digest": digest, "accept-ranges": "bytes", etag };
  if (namesEntityTag(request.headers["if-none-match"], etag, true)) return reply(304, headers);
  const content = { ...headers, "content-type": mediaTypes.octetStream, "content-disposition": "attachment" };
  if (method === "HEAD") return reply(200, { ...content, "content-length": String(size) });
  const ifRange = request.headers["if-range"];
  const range = parseRange(ifRange === undefined || ifRange === etag ? request.headers.range : undefined, size);
  if (range.kind === "unsatisfiable") {
    throw new Fault(416, "SIZE_INVALID", "the blob has no such range", {
      headers: { "content-range": `bytes */${size}` },
    });
  }
  if (range.kind === "whole") {
    return replyStream(200, { ...content, "content-length": String(size) }, storage.blobBytes(digest, 0, size - 1));
  }
  const { start, end } = range;
  return replyStream(
    206,
    { ...content, "content-length": String(end - start + 1), "content-range": `bytes ${start}-${end}/${size}` },
    storage.blobBytes(digest, start, end),
  );
}

async function revived(repository: string, digest: Digest, { signal }: WireRequest, context: Context) {
  const { storage } = context;
  await storage.open({ write: true, signal });
  return await storage.exclusive(blobScope(repository, digest), signal, () => touchLink(context, repository, digest));
}

/** Takes the blob from this repository; others keep it, and the bytes stay until they are collected. */
export async function deleteBlob(
  { repository, digest }: BlobRoute,
  { request }: Exchange,
  { storage, quotas }: Context,
): Promise<WireResponse> {
  const removed = await storage.exclusive(blobScope(repository, digest), request.signal, () =>
    storage.delete(folders.links(repository, digest), digestHex(digest)),
  );
  if (!removed) throw blobUnknown();
  quotas.forget(repository);
  return reply(202, { "docker-content-digest": digest });
}
