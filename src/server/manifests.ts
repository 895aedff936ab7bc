import { isTag } from "../image/reference.js";
import { type Digest, digestAlgorithm, digestHex, digestOf, isDigest } from "../oci/digest.js";
import { children, type Manifest } from "../oci/manifest.js";
import { isForeignLayerType } from "../oci/media-types.js";
import type { WireRequest, WireResponse } from "../oci/wire.js";
import { isLinked } from "./blobs.js";
import { enterRepository, leaveWhenEmpty } from "./catalog.js";
import type { Context, Exchange } from "./context.js";
import { Fault } from "./fault.js";
import { receiveManifest } from "./manifest-body.js";
import { addReferrer, removeReferrer } from "./referrers.js";
import { reply } from "./reply.js";
import type { Route } from "./route.js";
import { encodeRecord, folders, readRecord, type Storage } from "./storage/storage.js";
import { moveTag, readTag, removeTagsOf } from "./tags.js";

type ManifestRoute = Extract<Route, { endpoint: "manifest" }>;

/** What is known of a manifest of a repository without reading it. */
interface ManifestRecord {
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
  /** RFC 3339. */
  readonly pushed: string;
  readonly subject: Digest | null;
  readonly artifactType: string | null;
  /** What it points at, its subject left out. */
  readonly references: readonly Digest[];
}

async function readManifestRecord(
  storage: Storage,
  repository: string,
  digest: Digest,
): Promise<ManifestRecord | null> {
  return await readRecord<ManifestRecord>(storage, folders.manifests(repository, digest), digestHex(digest));
}

function manifestUnknown(): Fault {
  return new Fault(404, "MANIFEST_UNKNOWN", "the repository has no such manifest");
}

/** The manifest that a tag or digest names in a repository, or null. */
async function resolve(
  storage: Storage,
  repository: string,
  reference: string,
): Promise<{ readonly digest: Digest; readonly mediaType: string; readonly size: number } | null> {
  if (!isDigest(reference)) return await readTag(storage, repository, reference);
  const record = await readManifestRecord(storage, repository, reference);
  return record === null ? null : { digest: reference, mediaType: record.mediaType, size: record.size };
}

/**
 * The bytes as they were pushed, with the type that they were pushed with: `Accept` is only advice.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export async function getManifest(
  { repository, reference, method }: ManifestRoute,
  { request }: Exchange,
  { storage }: Context,
): Promise<WireResponse> {
  const found = await resolve(storage, repository, reference);
  if (found === null) throw manifestUnknown();
  const { digest, mediaType, size } = found;
  const etag = `"${digest}"`;
  const headers = { "docker-content-digest": digest, etag };
  if (request.headers["if-none-match"] === etag) return reply(304, headers);
  const content = { ...headers, "content-type": mediaType, "content-length": String(size) };
  if (method === "HEAD") return reply(200, content);
  const bytes: Uint8Array[] = [];
  for await (const chunk of storage.blobBytes(digest, 0, size - 1)) bytes.push(chunk);
  return reply(200, content, Buffer.concat(bytes));
}

/** Tags that the manifest gets: the one of the path, or those of the `tag` parameters. @throws Fault */
function wantedTags({ reference, query }: ManifestRoute, most: number): readonly string[] {
  if (!isDigest(reference)) return [reference];
  const tags = [...new Set(query.getAll("tag"))];
  if (tags.length > most) throw new Fault(414, "UNSUPPORTED", `at most ${most} tags can be given at once`);
  for (const tag of tags) {
    if (!isTag(tag)) throw new Fault(400, "MANIFEST_INVALID", "a tag parameter is not a valid tag");
  }
  return tags;
}

/** @throws Fault where the content that the manifest names has not been pushed to this repository */
async function checkReferences(repository: string, manifest: Manifest, context: Context): Promise<void> {
  const { storage } = context;
  if (context.sparse) return;
  const here = async (digest: Digest): Promise<boolean> =>
    (await isLinked(storage, repository, digest)) ||
    (manifest.kind === "index" && (await readManifestRecord(storage, repository, digest)) !== null);
  const wanted = new Set<Digest>();
  for (const child of children(manifest)) {
    // its bytes are elsewhere on purpose
    if (isForeignLayerType(child.mediaType) && (child.urls?.length ?? 0) > 0) continue;
    wanted.add(child.digest);
  }
  for (const digest of wanted) {
    if (await here(digest)) continue;
    throw new Fault(400, "MANIFEST_BLOB_UNKNOWN", "the manifest names content that the repository does not have", {
      detail: { digest },
    });
  }
}

/**
 * `If-None-Match: *` makes a tag only where there is none, `If-Match` moves it only from where the client saw it:
 * two that write at once don't lose each other's change.
 */
async function checkPreconditions({ headers }: WireRequest, repository: string, tag: string, storage: Storage) {
  const ifMatch = headers["if-match"];
  const ifNoneMatch = headers["if-none-match"];
  if (ifMatch === undefined && ifNoneMatch === undefined) return;
  const current = await readTag(storage, repository, tag);
  const etag = current === null ? null : `"${current.digest}"`;
  const matches = (header: string): boolean =>
    etag !== null && header.split(",").some((part) => part.trim() === "*" || part.trim() === etag);
  if ((ifMatch !== undefined && !matches(ifMatch)) || (ifNoneMatch !== undefined && matches(ifNoneMatch))) {
    throw new Fault(412, "DENIED", "the tag is not in the state that the request asks for", {
      headers: etag === null ? {} : { etag },
    });
  }
}

/**
 * Content first, tags last: whoever is killed in between leaves a manifest that no tag names.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests
 */
export async function putManifest(
  route: ManifestRoute,
  { request }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const { storage, limits, now, prefix } = context;
  const { repository, reference } = route;
  const tags = wantedTags(route, limits.tagParameters);
  const { bytes, mediaType, manifest } = await receiveManifest(request, limits);
  const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : "sha256");
  if (isDigest(reference) && reference !== digest) {
    throw new Fault(400, "DIGEST_INVALID", "the manifest does not have the digest of the path");
  }
  const { subject } = manifest;
  const descriptor = { mediaType, digest, size: bytes.length };
  await storage.exclusive(repository, request.signal, async () => {
    for (const tag of tags) await checkPreconditions(request, repository, tag, storage);
    await checkReferences(repository, manifest, context);
    const known = await readManifestRecord(storage, repository, digest);
    await storage.addBlob(digest, bytes);
    if (known?.mediaType !== mediaType) {
      const record: ManifestRecord = {
        mediaType,
        size: bytes.length,
        pushed: new Date(now()).toISOString(),
        subject: subject?.digest ?? null,
        artifactType: manifest.artifactType,
        references: [...new Set(children(manifest).map((child) => child.digest))],
      };
      await storage.put(folders.manifests(repository, digest), digestHex(digest), encodeRecord(record));
    }
    if (subject !== null) await addReferrer(storage, repository, subject.digest, descriptor, manifest);
    await enterRepository(storage, repository, now());
    for (const tag of tags) await moveTag(storage, repository, tag, descriptor, now());
  });
  return reply(201, {
    location: `${prefix}/v2/${repository}/manifests/${digest}`,
    "docker-content-digest": digest,
    ...(subject === null ? {} : { "oci-subject": subject.digest }),
    ...(isDigest(reference) && tags.length > 0 ? { "oci-tag": tags.join(", ") } : {}),
  });
}

/**
 * A tag goes alone; a digest takes its tags along, and they go first.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#deleting-manifests
 */
export async function deleteManifest(
  { repository, reference }: ManifestRoute,
  { request }: Exchange,
  { storage }: Context,
): Promise<WireResponse> {
  await storage.exclusive(repository, request.signal, async () => {
    if (!isDigest(reference)) {
      if (await storage.delete(folders.tags(repository), reference)) return;
      throw manifestUnknown();
    }
    const record = await readManifestRecord(storage, repository, reference);
    if (record === null) throw manifestUnknown();
    await removeTagsOf(storage, repository, reference);
    if (record.subject !== null) await removeReferrer(storage, repository, record.subject, reference);
    await storage.delete(folders.manifests(repository, reference), digestHex(reference));
    await leaveWhenEmpty(storage, repository);
  });
  return reply(202);
}
