import type { Digest } from "../oci/digest.js";
import type { Manifest } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { WireResponse } from "../oci/wire.js";
import type { Context, Exchange } from "./context.js";
import { linkToNext, parsePage } from "./paging.js";
import { replyJson } from "./reply.js";
import type { Route } from "./route.js";
import { digestName, encodeRecord, folders, readRecord, type Storage } from "./storage/storage.js";

/** The descriptor of a referrer as the list shows it. */
interface Referrer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The type that the list is filtered by: an image's falls back to its config's, an index's to none. */
function artifactTypeOf(manifest: Manifest): string | null {
  if (manifest.artifactType) return manifest.artifactType;
  return manifest.kind === "image" ? manifest.config.mediaType : null;
}

/** One record per referrer, so that two that are pushed at once can't lose each other (sigstore/cosign#9). */
export async function addReferrer(
  storage: Storage,
  repository: string,
  subject: Digest,
  descriptor: { readonly mediaType: string; readonly digest: Digest; readonly size: number },
  manifest: Manifest,
): Promise<void> {
  const folder = folders.referrers(repository, subject);
  const name = digestName(descriptor.digest);
  if ((await storage.get(folder, name)) !== null) return;
  const artifactType = artifactTypeOf(manifest);
  const referrer: Referrer = {
    mediaType: descriptor.mediaType,
    digest: descriptor.digest,
    size: descriptor.size,
    ...(artifactType === null ? {} : { artifactType }),
    ...(Object.keys(manifest.annotations).length === 0 ? {} : { annotations: manifest.annotations }),
  };
  await storage.put(folder, name, encodeRecord(referrer));
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
  const manifests: Referrer[] = [];
  let bytes = 0;
  let next: string | null = null;
  const names = await storage.list(folder, { after, limit: Number.POSITIVE_INFINITY });
  let last = after;
  for (const name of names) {
    if (limit === 0) break;
    const referrer = await readRecord<Referrer>(storage, folder, name);
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
