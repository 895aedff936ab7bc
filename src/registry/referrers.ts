import { isLadingError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
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

/** The tag under which registries without the API keep a subject's referrers. */
export function referrersTag(digest: Digest): string {
  return digest.replace(":", "-").slice(0, digest.indexOf(":") + 1 + Math.min(64, digestHex(digest).length));
}

/**
 * The manifests that name a digest as their subject; by the API, else by the fallback tag.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
export async function listReferrers(
  endpoint: Endpoint,
  digest: Digest,
  options: ReferrersOptions = {},
): Promise<readonly Descriptor[]> {
  const { artifactType } = options;
  const found = (await fromApi(endpoint, digest, options)) ?? (await fromTag(endpoint, digest, options));
  return artifactType === undefined ? found : found.filter((descriptor) => descriptor.artifactType === artifactType);
}

async function fromApi(
  endpoint: Endpoint,
  digest: Digest,
  { artifactType, signal }: ReferrersOptions,
): Promise<readonly Descriptor[] | null> {
  const first = endpoint.url(`referrers/${digest}`);
  if (artifactType !== undefined) first.searchParams.set("artifactType", artifactType);
  let supported = true;
  const readPage = async (url: URL): Promise<Page<Descriptor>> => {
    const { answer, bytes } = await endpoint.read(
      {
        method: "GET",
        url,
        role: url.href === first.href ? "registry" : "page",
        actions: endpoint.readActions,
        headers: { accept: mediaTypes.ociIndex },
        expect: [200, 400, 404, 405, 501],
        doing: `listing the referrers of ${digest}`,
        digest,
        signal,
      },
      limits.listBody,
    );
    // Old registries answer with a page for people, whatever the path.
    const isIndex = (answer.headers["content-type"] ?? "").split(";", 1)[0]?.trim() === mediaTypes.ociIndex;
    if (answer.status !== 200 || !isIndex) {
      supported = false;
      return { entries: [], next: null };
    }
    const index = parseManifest(bytes, mediaTypes.ociIndex);
    return {
      entries: index.kind === "index" ? index.manifests : [],
      next: nextPage(answer.headers.link, url),
    };
  };
  const found: Descriptor[] = [];
  try {
    for await (const page of pages(first, readPage, (descriptor) => descriptor.digest)) found.push(...page);
  } catch (error) {
    throw endpoint.sided(error, digest);
  }
  return supported ? found : null;
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
