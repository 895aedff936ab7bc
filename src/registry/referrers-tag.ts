import { isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { parseManifest, type RawManifest } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";
import { referrerDescriptor } from "../oci/referrer.js";
import type { Endpoint } from "./endpoint.js";
import { readManifestBytes, writeManifest } from "./manifests.js";
import { referrersTag } from "./referrers.js";

interface SignalOption {
  readonly signal?: AbortSignal | undefined;
}

/** How often the list is read again that somebody else has changed meanwhile. */
const tries = 8;

type Entries = readonly { readonly digest?: unknown }[];

/**
 * Enters a manifest into the list of its subject's referrers, which registries without the API leave to their clients.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests-with-subject
 */
export async function enterReferrer(
  endpoint: Endpoint,
  subject: Digest,
  { descriptor, manifest }: Pick<RawManifest, "descriptor" | "manifest">,
  options: SignalOption = {},
): Promise<void> {
  const entry: Descriptor = referrerDescriptor(descriptor, manifest);
  await changeList(endpoint, subject, options, (entries) =>
    entries.some(({ digest }) => digest === entry.digest) ? null : [...entries, entry],
  );
}

/** Takes a manifest that is gone out of that list. */
export async function leaveReferrer(
  endpoint: Endpoint,
  subject: Digest,
  referrer: Digest,
  options: SignalOption = {},
): Promise<void> {
  await changeList(endpoint, subject, options, (entries) => {
    const left = entries.filter(({ digest }) => digest !== referrer);
    return left.length === entries.length ? null : left;
  });
}

/**
 * Reads, changes and writes until the list is as it should be: what somebody else has written in between is not lost
 * where the registry knows conditions, and seldom where it does not.
 * @param change Null where nothing has to change.
 */
async function changeList(
  endpoint: Endpoint,
  subject: Digest,
  { signal }: SignalOption,
  change: (entries: Entries) => Entries | null,
): Promise<void> {
  const tag = referrersTag(subject);
  for (let attempt = 0; attempt < tries; attempt++) {
    const { document, etag, absent } = await readList(endpoint, tag, { signal });
    const manifests = change(document.manifests);
    if (manifests === null) return;
    const bytes = Buffer.from(JSON.stringify({ ...document, manifests }));
    const condition = absent ? ({ absent } as const) : etag === null ? undefined : { etag };
    try {
      await writeManifest(endpoint, bytes, mediaTypes.ociIndex, tag, { condition, signal });
    } catch (error) {
      if (!isLadingError(error) || error.status !== 412) throw error;
    }
  }
  throw new LadingError("conflict", `others keep changing the list of referrers ${endpoint.name}:${tag}`, {
    side: endpoint.side,
    digest: subject,
    retryable: true,
  });
}

interface List {
  /** With all that others have written into it. */
  readonly document: { readonly manifests: Entries };
  readonly etag: string | null;
  readonly absent: boolean;
}

/** @throws LadingError `manifest-invalid` where the tag is something else, which nobody may write over */
async function readList(endpoint: Endpoint, tag: string, options: SignalOption): Promise<List> {
  try {
    const { descriptor, bytes, etag } = await readManifestBytes(endpoint, tag, options);
    if (descriptor.mediaType !== mediaTypes.ociIndex) {
      throw new LadingError("manifest-invalid", `the tag ${tag} is no index of referrers`, { side: endpoint.side });
    }
    parseManifest(bytes, descriptor.mediaType);
    const document = JSON.parse(Buffer.from(bytes).toString("utf8")) as { readonly manifests?: Entries | null };
    return { document: { ...document, manifests: document.manifests ?? [] }, etag, absent: false };
  } catch (error) {
    if (!isLadingError(error) || error.code !== "not-found") throw endpoint.sided(error);
    const document = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };
    return { document, etag: null, absent: true };
  }
}
