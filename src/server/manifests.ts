import { isTag } from "../image/reference.js";
import { type Digest, digestAlgorithm, digestHex, digestOf, isDigest } from "../oci/digest.js";
import { children, type Manifest } from "../oci/manifest.js";
import { isForeignLayerType } from "../oci/media-types.js";
import type { WireRequest, WireResponse } from "../oci/wire.js";
import { enterRepository, leaveWhenEmpty } from "./catalog.js";
import type { Context, Exchange } from "./context.js";
import { namesEntityTag } from "./entity-tag.js";
import { Fault } from "./fault.js";
import { touchLink } from "./links.js";
import { receiveManifest } from "./manifest-body.js";
import { enterManifest, type ManifestRecord, readManifestRecord, touchManifest } from "./manifest-record.js";
import { addReferrer, removeReferrer } from "./referrers.js";
import { reply } from "./reply.js";
import { matchesAny, retentionPolicyOf } from "./retention-policy.js";
import type { Route } from "./route.js";
import { folders, type Storage } from "./storage/storage.js";
import { moveTag, readTag, removeTag, removeTagsOf, tagsOf } from "./tags.js";

type ManifestRoute = Extract<Route, { endpoint: "manifest" }>;

function manifestUnknown(): Fault {
  return new Fault(404, "MANIFEST_UNKNOWN", "the repository has no such manifest");
}

interface Resolved {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly condemned: boolean;
}

/** The manifest that a tag or digest names in a repository; null also where its bytes are gone, so that it can be pushed again. */
async function resolve(storage: Storage, repository: string, reference: string): Promise<Resolved | null> {
  const [digest, record] = isDigest(reference)
    ? [reference, await readManifestRecord(storage, repository, reference)]
    : await readTag(storage, repository, reference).then((tag) => [tag?.digest, tag] as const);
  if (!digest || record === null || (await storage.blobSize(digest)) !== record.size) return null;
  return { digest, mediaType: record.mediaType, size: record.size, condemned: "condemned" in record };
}

/**
 * The bytes as they were pushed, with the type that they were pushed with: `Accept` is only advice.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
export async function getManifest(
  { repository, reference, method }: ManifestRoute,
  { request }: Exchange,
  context: Context,
): Promise<WireResponse> {
  const { storage } = context;
  const found = await resolve(storage, repository, reference);
  if (found === null) throw manifestUnknown();
  // whoever asks whether it is there may leave it out of a push
  if (method === "HEAD") {
    if (await isDamaged(storage, repository, found.digest)) throw manifestUnknown();
    if (found.condemned) await revive(repository, found.digest, request, context);
  }
  const { digest, mediaType, size } = found;
  const etag = `"${digest}"`;
  const headers = { "docker-content-digest": digest, etag };
  if (namesEntityTag(request.headers["if-none-match"], etag, true)) return reply(304, headers);
  const content = { ...headers, "content-type": mediaType, "content-length": String(size) };
  if (method === "HEAD") return reply(200, content);
  const bytes: Uint8Array[] = [];
  for await (const chunk of storage.blobBytes(digest, 0, size - 1)) bytes.push(chunk);
  return reply(200, content, Buffer.concat(bytes));
}

/**
 * Whether something that a manifest leads to was quarantined, and has not been pushed again. Whoever would leave the
 * manifest out of a push has to look at its blobs then.
 */
async function isDamaged(storage: Storage, repository: string, manifest: Digest): Promise<boolean> {
  const quarantined = await storage.quarantinedBlobs();
  if (quarantined.size === 0) return false;
  const seen = new Set<Digest>();
  const queue = [manifest];
  for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
    if (seen.has(digest)) continue;
    seen.add(digest);
    if (quarantined.has(digest) && (await storage.blobSize(digest)) === null) return true;
    queue.push(...((await readManifestRecord(storage, repository, digest))?.references ?? []));
  }
  return false;
}

/** @throws Fault where it has been removed meanwhile */
async function revive(repository: string, digest: Digest, { signal }: WireRequest, context: Context): Promise<void> {
  await context.storage.open({ write: true, signal });
  const live = await context.storage.exclusive(repository, signal, () => touchManifest(context, repository, digest));
  if (!live) throw manifestUnknown();
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

/**
 * Has what the manifest names stay, whatever is collected meanwhile.
 * @throws Fault where some of it has not been pushed to this repository
 */
async function touchReferences(repository: string, manifest: Manifest, context: Context): Promise<void> {
  const touch = async (digest: Digest): Promise<boolean> =>
    (await touchLink(context, repository, digest)) !== null ||
    (manifest.kind === "index" && (await touchManifest(context, repository, digest)));
  const wanted = new Set<Digest>();
  for (const child of children(manifest)) {
    // its bytes are elsewhere on purpose
    if (isForeignLayerType(child.mediaType) && (child.urls?.length ?? 0) > 0) continue;
    wanted.add(child.digest);
  }
  for (const digest of wanted) {
    if ((await touch(digest)) || context.sparse) continue;
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
  if ((ifMatch !== undefined && !namesEntityTag(ifMatch, etag, false)) || namesEntityTag(ifNoneMatch, etag, true)) {
    throw new Fault(412, "DENIED", "the tag is not in the state that the request asks for", {
      headers: etag === null ? {} : { etag },
    });
  }
}

/**
 * Under the repository's lock, as everything that decides about a tag.
 * @param to Null where it is to go.
 * @throws Fault where the repository's policy lets a tag neither move nor go
 */
async function checkMovable(storage: Storage, repository: string, tag: string, to: Digest | null): Promise<void> {
  const current = await readTag(storage, repository, tag);
  if (current === null || current.digest === to) return;
  if (!matchesAny(tag, (await retentionPolicyOf(storage, repository))?.immutable ?? [])) return;
  throw new Fault(409, "DENIED", `the tag ${tag} is immutable here: it can neither be moved nor deleted`, {
    detail: { tag, digest: current.digest },
  });
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
  const { storage, limits, quotas, now, prefix } = context;
  const { repository, reference } = route;
  const tags = wantedTags(route, limits.tagParameters);
  const { bytes, mediaType, manifest } = await receiveManifest(request, limits);
  const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : "sha256");
  if (isDigest(reference) && reference !== digest) {
    throw new Fault(400, "DIGEST_INVALID", "the manifest does not have the digest of the path");
  }
  const { subject } = manifest;
  const descriptor = { mediaType, digest, size: bytes.length };
  // Many may be pushed to a repository at once, each tag by one of them.
  await storage.shared({ scope: repository, parts: tags }, request.signal, async () => {
    for (const tag of tags) await checkPreconditions(request, repository, tag, storage);
    for (const tag of tags) await checkMovable(storage, repository, tag, digest);
    await touchReferences(repository, manifest, context);
    const known = await readManifestRecord(storage, repository, digest);
    const add = async (): Promise<void> => {
      await storage.addBlob(digest, bytes);
      if (known?.mediaType === mediaType && known.condemned === undefined) return;
      const record: ManifestRecord = {
        mediaType,
        size: bytes.length,
        pushed: new Date(now()).toISOString(),
        subject: subject?.digest ?? null,
        artifactType: manifest.artifactType,
        references: [...new Set(children(manifest).map((child) => child.digest))],
      };
      await enterManifest(storage, repository, digest, record);
      // a collection that did not know the record yet may have taken the bytes before it was written
      if ((await storage.reviveBlob(digest)) === null) await storage.addBlob(digest, bytes);
    };
    await (known === null ? quotas.reserve(repository, bytes.length, add) : add());
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
  { storage, quotas, now }: Context,
): Promise<WireResponse> {
  await storage.exclusive(repository, request.signal, async () => {
    if (!isDigest(reference)) {
      await checkMovable(storage, repository, reference, null);
      if (await removeTag(storage, repository, reference, now())) return;
      throw manifestUnknown();
    }
    const record = await readManifestRecord(storage, repository, reference);
    if (record === null) throw manifestUnknown();
    for (const tag of await tagsOf(storage, repository, reference)) await checkMovable(storage, repository, tag, null);
    await removeTagsOf(storage, repository, reference);
    await removeManifest(storage, repository, reference, record);
  });
  quotas.forget(repository);
  return reply(202);
}

/** Removes a manifest that has no tags any more. Alone in the scope of the repository. */
export async function removeManifest(
  storage: Storage,
  repository: string,
  digest: Digest,
  record: ManifestRecord,
): Promise<void> {
  if (record.subject !== null) await removeReferrer(storage, repository, record.subject, digest);
  await storage.delete(folders.manifests(repository, digest), digestHex(digest));
  await leaveWhenEmpty(storage, repository);
}
