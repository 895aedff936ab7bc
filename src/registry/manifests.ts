import { LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestAlgorithm, digestOf, isDigest } from "../oci/digest.js";
import { parseManifest, type RawManifest, sniffManifestType } from "../oci/manifest.js";
import { isManifestType, manifestMediaTypes, mediaTypes } from "../oci/media-types.js";
import { discard, emptyBody } from "./body.js";
import type { Answer } from "./call.js";
import type { Endpoint } from "./endpoint.js";

interface SignalOption {
  readonly signal?: AbortSignal | undefined;
}

/**
 * What a tag must stand for, so that nobody's write is lost. Registries that do not know conditions write anyway.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1
 */
export type TagCondition = { readonly absent: true } | { readonly etag: string };

interface WriteOptions extends SignalOption {
  readonly condition?: TagCondition | undefined;
}

/** What a registry said to a manifest. */
export interface WrittenManifest {
  readonly descriptor: Descriptor;
  /** It has listed the manifest among its subject's referrers. */
  readonly referrerListed: boolean;
}

interface ManifestBytes {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** What a condition can name it by; null where the registry gives nothing of the kind. */
  readonly etag: string | null;
}

const accept = manifestMediaTypes.join(", ");
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** A tag or digest as it may stand in a URL. @throws LadingError `bad-reference` */
export function checkReference(reference: string): string {
  if (isDigest(reference) || tagForm.test(reference)) return reference;
  throw new LadingError("bad-reference", `${JSON.stringify(reference.slice(0, 140))} is neither a tag nor a digest`);
}

/** A reference as it stands behind a name. */
function joined(reference: string): string {
  return `${isDigest(reference) ? "@" : ":"}${reference}`;
}

function contentType(answer: Answer): string {
  return (answer.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/**
 * What a reference points at, by HEAD; null where the registry has it not. Registries that tell too little are
 * asked for the whole, which is then hashed.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#checking-if-content-exists-in-the-registry
 */
export async function headManifest(
  endpoint: Endpoint,
  reference: string,
  options: SignalOption = {},
): Promise<Descriptor | null> {
  const answer = await endpoint.send({
    method: "HEAD",
    url: endpoint.url(`manifests/${checkReference(reference)}`),
    actions: endpoint.readActions,
    headers: { accept },
    expect: [200, 404, 405, 501],
    doing: `looking up ${endpoint.name}${joined(reference)}`,
    signal: options.signal,
  });
  await discard(answer);
  if (answer.status === 404) return null;
  const mediaType = contentType(answer);
  const size = Number(answer.headers["content-length"] ?? "");
  const told = answer.headers["docker-content-digest"];
  const digest = isDigest(reference) ? reference : told;
  if (
    isDigest(reference) &&
    isDigest(told) &&
    digestAlgorithm(told) === digestAlgorithm(reference) &&
    told !== reference
  ) {
    throw new LadingError("digest-mismatch", `${endpoint.authority} offers ${told} for ${reference}`, {
      side: endpoint.side,
      digest: reference,
    });
  }
  if (
    answer.status === 200 &&
    isDigest(digest) &&
    isManifestType(mediaType) &&
    Number.isSafeInteger(size) &&
    size > 0
  ) {
    return { mediaType, digest, size };
  }
  try {
    return (await readManifest(endpoint, reference, options)).descriptor;
  } catch (error) {
    if (error instanceof LadingError && error.code === "not-found") return null;
    throw error;
  }
}

/** A manifest's bytes under the type that came with them, its digest made sure of. */
export async function readManifestBytes(
  endpoint: Endpoint,
  reference: string,
  options: SignalOption = {},
): Promise<ManifestBytes> {
  const wanted = isDigest(reference) ? reference : undefined;
  const { answer, bytes } = await endpoint.read(
    {
      method: "GET",
      url: endpoint.url(`manifests/${checkReference(reference)}`),
      actions: endpoint.readActions,
      headers: { accept },
      expect: [200],
      doing: `reading the manifest of ${endpoint.name}${joined(reference)}`,
      missing: `${endpoint.authority}/${endpoint.name} has no ${isDigest(reference) ? "" : "tag "}${reference}`,
      digest: wanted,
      signal: options.signal,
    },
    "manifest",
  );
  const digest = verifiedDigest(bytes, wanted, answer.headers["docker-content-digest"]);
  if (digest === null) {
    throw new LadingError("digest-mismatch", `${endpoint.authority} sent another manifest than ${reference}`, {
      side: endpoint.side,
      digest: wanted,
    });
  }
  const { etag } = answer.headers;
  return {
    descriptor: { mediaType: manifestType(answer, bytes), digest, size: bytes.length },
    bytes,
    // A weak one says too little for a condition.
    etag: etag?.startsWith('"') === true ? etag : null,
  };
}

/** The digest of a manifest: that which was asked for, else the registry's where it is true, else our own. */
function verifiedDigest(bytes: Uint8Array, wanted: Digest | undefined, told: string | undefined): Digest | null {
  if (wanted !== undefined) return digestOf(bytes, digestAlgorithm(wanted)) === wanted ? wanted : null;
  if (isDigest(told) && digestOf(bytes, digestAlgorithm(told)) === told) return told;
  return digestOf(bytes);
}

/** The type is the header's; some registries have only a general one, and then the content tells. */
function manifestType(answer: Answer, bytes: Uint8Array): string {
  const type = contentType(answer);
  if (!["", "application/json", "text/plain", mediaTypes.octetStream].includes(type)) return type;
  try {
    return sniffManifestType(JSON.parse(Buffer.from(bytes).toString("utf8"))) ?? type;
  } catch {
    return type;
  }
}

/**
 * A manifest with its meaning, verified where the reference is a digest.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 * @throws LadingError `not-found`, `digest-mismatch`, `manifest-invalid`, `unsupported`, …
 */
export async function readManifest(
  endpoint: Endpoint,
  reference: string,
  options: SignalOption = {},
): Promise<RawManifest> {
  const { descriptor, bytes } = await readManifestBytes(endpoint, reference, options);
  try {
    return { descriptor, bytes, manifest: parseManifest(bytes, descriptor.mediaType) };
  } catch (error) {
    throw endpoint.sided(error, descriptor.digest);
  }
}

/**
 * Puts a manifest under a tag or its digest. Where the answer is lost, the registry is asked before it is sent again.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests
 * @throws LadingError `conflict` with the status 412 where the tag is not what the condition says, …
 */
export async function writeManifest(
  endpoint: Endpoint,
  bytes: Uint8Array,
  mediaType: string,
  reference: string,
  { condition, signal }: WriteOptions = {},
): Promise<WrittenManifest> {
  const digest = isDigest(reference) ? reference : digestOf(bytes);
  const url = endpoint.url(`manifests/${checkReference(reference)}`);
  const answer = await endpoint.sendOnly({
    method: "PUT",
    url,
    actions: ["pull", "push"],
    headers: { "content-type": mediaType, "content-length": String(bytes.length), ...conditionHeaders(condition) },
    body: bytes,
    expect: condition === undefined ? [200, 201, 202, 204] : [200, 201, 202, 204, 412],
    doing: `writing the manifest of ${endpoint.name}${joined(reference)}`,
    digest,
    confirm: async () => {
      const there = await headManifest(endpoint, reference, { signal });
      return there?.digest === digest ? { status: 201, headers: {}, body: emptyBody, url } : null;
    },
    signal,
  });
  if (answer.status === 412) {
    const own = `"${digest}"`;
    const etag = answer.headers.etag?.replace(/^W\//, "");
    const current = etag?.replaceAll('"', "");
    // Where the tag stands for this very manifest, its bytes may still be missing: written over, they are there again.
    if (etag === own && condition !== undefined && !("etag" in condition)) {
      return await writeManifest(endpoint, bytes, mediaType, reference, { condition: { etag: own }, signal });
    }
    const what = `${endpoint.authority}/${endpoint.name}${joined(reference)}`;
    throw new LadingError("conflict", `${what} is not what it was taken for`, {
      side: endpoint.side,
      digest: isDigest(current) ? current : null,
      status: 412,
    });
  }
  const stored = answer.headers["docker-content-digest"];
  if (isDigest(stored) && digestAlgorithm(stored) === digestAlgorithm(digest) && stored !== digest) {
    throw new LadingError("digest-mismatch", `${endpoint.authority} stored ${stored} instead of ${digest}`, {
      side: endpoint.side,
      digest,
    });
  }
  const referrerListed = answer.headers["oci-subject"] !== undefined;
  return { descriptor: { mediaType, digest, size: bytes.length }, referrerListed };
}

function conditionHeaders(condition: TagCondition | undefined): Record<string, string> {
  if (condition === undefined) return {};
  return "etag" in condition ? { "if-match": condition.etag } : { "if-none-match": "*" };
}

/**
 * Deletes a manifest by digest (and all tags of it), or a tag alone.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#content-management
 * @throws LadingError `not-found`, `unsupported` where the registry does not do this
 */
export async function deleteManifest(endpoint: Endpoint, reference: string, options: SignalOption = {}): Promise<void> {
  const url = endpoint.url(`manifests/${checkReference(reference)}`);
  const answer = await endpoint.send({
    method: "DELETE",
    url,
    actions: ["delete", "pull", "push"],
    // Registries that delete by digest alone call a tag an invalid digest.
    expect: isDigest(reference) ? [200, 202, 204] : [200, 202, 204, 400],
    doing: `deleting ${endpoint.name}${joined(reference)}`,
    digest: isDigest(reference) ? reference : undefined,
    // Where the answer was lost, what is gone by now was deleted.
    confirm: async () => {
      const there = await headManifest(endpoint, reference, options);
      return there === null ? { status: 202, headers: {}, body: emptyBody, url } : null;
    },
    signal: options.signal,
  });
  await discard(answer);
  if (answer.status !== 400) return;
  throw new LadingError("unsupported", `${endpoint.authority} cannot delete a tag alone`, {
    side: endpoint.side,
    status: answer.status,
  });
}
