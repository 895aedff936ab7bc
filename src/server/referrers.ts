import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { Manifest } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";
import { referrerDescriptor } from "../oci/referrer.js";
import type { WireResponse } from "../oci/wire.js";
import type { Context, Exchange } from "./context.js";
import { linkToNext, parsePage } from "./paging.js";
import { replyJson } from "./reply.js";
import type { Route } from "./route.js";
import { digestName, encodeRecord, folders, readRecord, type Storage } from "./storage/storage.js";

/** One record per referrer, so that two that are pushed at once can't lose each other (sigstore/cosign#9). */
export async function addReferrer(
  storage: Storage,
  repository: string,
  subject: Digest,
  descriptor: Descriptor,
  manifest: Manifest,
): Promise<void> {
  const folder = folders.referrers(repository, subject);
  const name = digestName(descriptor.digest);
  if ((await storage.get(folder, name)) !== null) return;
  await storage.put(folder, name, encodeRecord(referrerDescriptor(descriptor, manifest)));
}

export async function removeReferrer(
  storage: Storage,
  repository: string,
  subject: Digest,
  digest: Digest,
): Promise<void> {
  await storage.delete(folders.referrers(repository, subject), digestName(digest));
}

/**
 * Never 404: a subject that nobody refers to, or that is not here, has an empty list.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export async function getReferrers(
  route: Extract<Route, { endpoint: "referrers" | "blob" }>,
  _exchange: Exchange,
  { storage, limits, prefix }: Context,
): Promise<WireResponse> {
  const { repository, digest } = route;
  const { limit, after } = parsePage(route.query, limits.page);
  // a media type has no blank: it is a plus that its client did not escape
  const wanted = route.query.get("artifactType")?.replaceAll(" ", "+") || null;
  const folder = folders.referrers(repository, digest);
  const manifests: Descriptor[] = [];
  let bytes = 0;
  let next: string | null = null;
  const names = await storage.list(folder, { after, limit: Number.POSITIVE_INFINITY });
  let last = after;
  for (const name of names) {
    if (limit === 0) break;
    const referrer = await readRecord<Descriptor>(storage, folder, name);
    if (referrer !== null && (wanted === null || referrer.artifactType === wanted)) {
      bytes += JSON.stringify(referrer).length;
      const full = manifests.length >= limit || (manifests.length > 0 && bytes > limits.referrersPage);
      if (full) {
        next = last;
        break;
      }
      manifests.push(referrer);
    }
    last = name;
  }
  const filter: Record<string, string> = wanted === null ? {} : { artifactType: wanted };
  return replyJson(
    200,
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests },
    {
      contentType: mediaTypes.ociIndex,
      head: route.method === "HEAD",
      headers: {
        ...(wanted === null ? {} : { "oci-filters-applied": "artifactType" }),
        ...(next === null
          ? {}
          : linkToNext(`${prefix}/v2/${repository}/referrers/${digest}`, { ...filter, n: String(limit), last: next })),
      },
    },
  );
}
