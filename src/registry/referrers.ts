import { isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex } from "../oci/digest.js";
import { parseManifest } from "../oci/manifest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { Endpoint } from "./endpoint.js";
import { nextPage, type Page, pages } from "./link.js";
import { readManifest } from "./manifests.js";

export interface ReferrersOptions {
  /** Only referrers of this type. */
  readonly artifactType?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The manifests that name a digest as their subject, and who keeps the list of them: the registry, or its clients in a tag. */
export interface Referrers {
  readonly descriptors: readonly Descriptor[];
  readonly keptBy: "registry" | "clients";
}

/** The tag under which registries without the API keep a subject's referrers. */
export function referrersTag(digest: Digest): string {
  return digest.replace(":", "-").slice(0, digest.indexOf(":") + 1 + Math.min(64, digestHex(digest).length));
}

/** Whether a tag is such a list. */
export function isReferrersTag(tag: string): boolean {
  return /^(?:sha256|sha512)-[0-9a-f]{64}$/.test(tag);
}

/**
 * The manifests that name a digest as their subject; by the API, else by the fallback tag.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export async function listReferrers(
  endpoint: Endpoint,
  digest: Digest,
  options: ReferrersOptions = {},
): Promise<Referrers> {
  const { artifactType } = options;
  const known = await fromApi(endpoint, digest, options);
  const found = known ?? (await fromTag(endpoint, digest, options));
  return {
    descriptors:
      artifactType === undefined ? found : found.filter((descriptor) => descriptor.artifactType === artifactType),
    keptBy: known === null ? "clients" : "registry",
  };
}

/** Whether the registry itself keeps the lists of referrers. One request. */
export async function keepsReferrers(endpoint: Endpoint, subject: Digest, options: ReferrersOptions): Promise<boolean> {
  return (
    (await readReferrersPage(endpoint, endpoint.url(`referrers/${subject}`), "registry", subject, options)) !== null
  );
}

async function fromApi(
  endpoint: Endpoint,
  digest: Digest,
  options: ReferrersOptions,
): Promise<readonly Descriptor[] | null> {
  const first = endpoint.url(`referrers/${digest}`);
  if (options.artifactType !== undefined) first.searchParams.set("artifactType", options.artifactType);
  let supported = true;
  const readPage = async (url: URL): Promise<Page<Descriptor>> => {
    const page = await readReferrersPage(endpoint, url, url.href === first.href ? "registry" : "page", digest, options);
    supported &&= page !== null;
    return page ?? { entries: [], next: null };
  };
  const found: Descriptor[] = [];
  try {
    for await (const page of pages(first, readPage, (descriptor) => descriptor.digest)) found.push(...page);
  } catch (error) {
    throw endpoint.sided(error, digest);
  }
  return supported ? found : null;
}

/** Null where the registry has no such list. */
async function readReferrersPage(
  endpoint: Endpoint,
  url: URL,
  role: "registry" | "page",
  digest: Digest,
  { signal }: ReferrersOptions,
): Promise<Page<Descriptor> | null> {
  const { answer, bytes } = await endpoint.read(
    {
      method: "GET",
      url,
      role,
      actions: endpoint.readActions,
      headers: { accept: mediaTypes.ociIndex },
      expect: [200, 400, 404, 405, 501],
      doing: `listing the referrers of ${digest}`,
      digest,
      signal,
    },
    "listBody",
  );
  // Old registries answer with a page for people, whatever the path.
  const isIndex = (answer.headers["content-type"] ?? "").split(";", 1)[0]?.trim() === mediaTypes.ociIndex;
  if (answer.status !== 200 || !isIndex) return null;
  const index = parseManifest(bytes, mediaTypes.ociIndex);
  return { entries: index.kind === "index" ? index.manifests : [], next: nextPage(answer.headers.link, url) };
}

async function fromTag(
  endpoint: Endpoint,
  digest: Digest,
  { signal }: ReferrersOptions,
): Promise<readonly Descriptor[]> {
  try {
    const { manifest } = await readManifest(endpoint, referrersTag(digest), { signal });
    if (manifest.kind === "index") return manifest.manifests;
    throw new LadingError("manifest-invalid", `the tag ${referrersTag(digest)} is no index of referrers`);
  } catch (error) {
    if (isLadingError(error) && error.code === "not-found") return [];
    throw error;
  }
}
