/** What the specification asks of registries, heading by heading. Long, since it is one table. */
import type { Requirement } from "./requirement.js";

const row = <const Id extends string>(
  id: Id,
  level: Requirement["level"],
  section: string,
  since: Requirement["since"],
  rule: string,
) => ({ id, level, section, since, rule }) as const;

const released = "1.1.1";
const dev = "dev";

export const requirements = [
  // requirements
  row("category-pull", "MUST", "requirements", released, "every API of the category Pull is there"),
  row("category-others", "SHOULD", "requirements", released, "so are Push, Content Discovery and Content Management"),
  row("category-whole", "MUST", "requirements", released, "a category that is claimed has all its APIs"),

  // pulling manifests
  row("reference-form", "MUST", "pulling-manifests", released, "a manifest is named by its digest or a tag"),
  row("reference-other", "MUST", "pulling-manifests", released, "a reference of any other form is refused"),
  row("name-form", "MUST", "pulling-manifests", released, "a repository's name matches the expression"),
  row("tag-form", "MUST", "pulling-manifests", released, "a tag has 128 characters at most and matches the expression"),
  row("manifest-type-bare", "SHOULD", "pulling-manifests", released, "Content-Type has no parameters"),
  row("manifest-type-pushed", "SHOULD", "pulling-manifests", released, "Content-Type is the one that was pushed"),
  row("manifest-200", "MUST", "pulling-manifests", released, "a manifest that is there comes with 200"),
  row("manifest-digest", "MUST", "pulling-manifests", dev, "with Docker-Content-Digest"),
  row("manifest-404", "MUST", "pulling-manifests", released, "one that is not there is 404"),

  // pulling blobs
  row("blob-200", "MUST", "pulling-blobs", released, "a blob that is there comes with 200"),
  row("blob-digest", "MUST", "pulling-blobs", dev, "with Docker-Content-Digest"),
  row("blob-digest-true", "MUST", "pulling-blobs", released, "which is a digest of the body"),
  row("blob-404", "MUST", "pulling-blobs", released, "one that is not there is 404"),
  row("blob-range", "SHOULD", "pulling-blobs", dev, "Range is served by RFC 9110, section 14"),

  // checking
  row("head-200", "MUST", "checking-if-content-exists-in-the-registry", released, "HEAD of what is there is 200"),
  row("head-digest", "MUST", "checking-if-content-exists-in-the-registry", dev, "with Docker-Content-Digest"),
  row("head-length", "MUST", "checking-if-content-exists-in-the-registry", dev, "and Content-Length"),
  row("head-404", "MUST", "checking-if-content-exists-in-the-registry", released, "HEAD of what is not there is 404"),

  // push
  row("subject-missing", "MUST", "push", released, "a manifest is taken before its subject"),
  row(
    "content-missing",
    "MUST",
    "push",
    released,
    "one refused for content that is missing says MANIFEST_BLOB_UNKNOWN",
  ),
  row("digest-invalid", "SHOULD", "pushing-blobs", dev, "a digest that is wrong or of an unknown algorithm is 400"),

  // POST then PUT
  row("session-202", "MUST", "post-then-put", released, "a session begins with 202"),
  row("session-location", "MUST", "post-then-put", released, "and a Location"),
  row("session-uuid", "MUST", "post-then-put", released, "with a UUID in it"),
  row("put-201", "MUST", "post-then-put", released, "PUT ends it with 201"),
  row("put-location", "MUST", "post-then-put", released, "and the Location of a blob that can be pulled"),

  // single POST
  row("length-true", "MUST", "single-post", released, "Content-Length is the blob's length"),
  row("digest-true", "MUST", "single-post", released, "the digest is the blob's"),
  row("post-202", "SHOULD", "single-post", released, "202 and a Location lead on where a POST alone is not enough"),
  row("post-201", "MUST", "single-post", released, "a POST with everything ends with 201"),
  row("post-location", "MUST", "single-post", released, "and the Location of a blob that can be pulled"),

  // chunks
  row("chunked-empty-post", "MUST", "pushing-a-blob-in-chunks", released, "it begins with a POST of Content-Length 0"),
  row("chunked-algorithm", "SHOULD", "pushing-a-blob-in-chunks", dev, "digest-algorithm says which digest will come"),
  row(
    "chunk-minimum",
    "SHOULD",
    "pushing-a-blob-in-chunks",
    released,
    "OCI-Chunk-Min-Length is said where there is one",
  ),
  row("chunk-inclusive", "MUST", "pushing-a-blob-in-chunks", released, "Content-Range includes both ends"),
  row("chunk-first", "MUST", "pushing-a-blob-in-chunks", released, "the first one begins with 0"),
  row("chunk-form", "MUST", "pushing-a-blob-in-chunks", released, "and matches the expression"),
  row("chunk-202", "MUST", "pushing-a-blob-in-chunks", released, "a chunk is answered with 202"),
  row("chunk-headers", "MUST", "pushing-a-blob-in-chunks", released, "with Location and Range"),
  row(
    "chunk-order",
    "MUST",
    "pushing-a-blob-in-chunks",
    released,
    "chunks come in order, each where the last one ends",
  ),
  row("chunk-416", "MUST", "pushing-a-blob-in-chunks", released, "one out of order is 416"),
  row("close-put", "MUST", "pushing-a-blob-in-chunks", released, "PUT closes the session"),
  row("close-digest", "MUST", "pushing-a-blob-in-chunks", released, "with the digest of the whole blob"),
  row("close-201", "MUST", "pushing-a-blob-in-chunks", released, "and is answered with 201"),
  row("close-location", "MUST", "pushing-a-blob-in-chunks", released, "and the Location of a blob that can be pulled"),
  row("close-416", "MUST", "pushing-a-blob-in-chunks", dev, "a last chunk out of order is 416 too"),
  row("status-204", "MUST", "pushing-a-blob-in-chunks", released, "GET of a session is 204"),
  row("status-headers", "MUST", "pushing-a-blob-in-chunks", released, "with Location and Range"),

  // cancel
  row("cancel-204", "SHOULD", "cancel-a-blob-upload", dev, "DELETE of a session is 204"),
  row("upload-timeout", "SHOULD", "cancel-a-blob-upload", dev, "sessions that nobody ends come to an end"),

  // mount
  row("mount-201", "MUST", "mounting-a-blob-from-another-repository", released, "a mount is 201"),
  row("mount-location", "MUST", "mounting-a-blob-from-another-repository", released, "with the blob's Location"),
  row(
    "mount-202",
    "SHOULD",
    "mounting-a-blob-from-another-repository",
    released,
    "where it can't be, 202 begins an upload",
  ),

  // pushing manifests
  row("push-type-parameters", "SHOULD", "pushing-manifests", released, "parameters of Content-Type are ignored"),
  row("push-reference", "MUST", "pushing-manifests", released, "a manifest is pushed to a digest or a tag"),
  row("push-content", "MUST", "pushing-manifests", released, "it names the blobs that it is made of"),
  row("push-bytes", "MUST", "pushing-manifests", released, "its bytes stay as they are"),
  row("push-201", "MUST", "pushing-manifests", released, "it is answered with 201"),
  row("push-location", "MUST", "pushing-manifests", released, "and a Location that can be pulled"),
  row("push-digest", "MUST", "pushing-manifests", released, "Docker-Content-Digest is the digest that was given"),
  row("tag-parameters", "SHOULD", "pushing-manifests", dev, "ten tag parameters or more are taken"),
  row("tag-accepted", "MUST", "pushing-manifests", dev, "OCI-Tag names every tag that was made"),
  row("repository-404", "MUST", "pushing-manifests", released, "a repository that does not exist is 404 to a pull"),
  row("size-limit", "SHOULD", "pushing-manifests", released, "the size of a manifest is limited"),
  row("size-413", "SHOULD", "pushing-manifests", released, "one that is larger is 413"),
  row("size-4mb", "SHOULD", "pushing-manifests", released, "4 megabytes are within the limit"),
  row("subject-header", "MUST", "pushing-manifests-with-subject", released, "OCI-Subject says that a subject was seen"),

  // tags
  row("tags-200", "MUST", "listing-tags", released, "the list of a repository is 200"),
  row("tags-order", "MUST", "listing-tags", dev, "in lexical or byte order"),
  row("tags-json", "MUST", "listing-tags", released, "as JSON with name and tags"),
  row("tags-count", "MUST", "listing-tags", released, "n gives n, unless the list ends or a Link follows"),
  row("tags-link", "MUST", "listing-tags", released, 'a Link is one of RFC 5988 with rel="next"'),
  row("tags-none", "MUST", "listing-tags", released, "n=0 gives an empty list"),
  row("tags-none-link", "MUST", "listing-tags", released, "and no Link"),
  row("tags-order-pages", "MUST", "listing-tags", dev, "pages are in the same order"),
  row("tags-last", "MUST", "listing-tags", released, "last is a tag, never an index"),
  row("tags-order-last", "MUST", "listing-tags", dev, "and what follows it is in the same order"),

  // referrers
  row("referrers-200", "MUST", "listing-referrers", released, "the referrers of a repository's digest are 200"),
  row("referrers-never-404", "MUST", "listing-referrers", released, "never 404"),
  row("referrers-400", "MUST", "listing-referrers", released, "a digest that is none is 400"),
  row("referrers-index", "MUST", "listing-referrers", released, "they are an image index"),
  row("referrers-type", "MUST", "listing-referrers", released, "whose Content-Type says so"),
  row("referrers-artifact", "MUST", "listing-referrers", released, "with each one's artifactType"),
  row("referrers-config", "MUST", "listing-referrers", released, "for an image without one, its config's type"),
  row("referrers-typeless", "MUST", "listing-referrers", released, "for an index without one, none"),
  row("referrers-annotations", "MUST", "listing-referrers", released, "and its annotations"),
  row("referrers-none", "MUST", "listing-referrers", released, "where there are none, the list is empty"),
  row("referrers-pages", "MUST", "listing-referrers", released, "more than fit into one answer go on by Link"),
  row("referrers-link", "MUST", "listing-referrers", released, 'of RFC 5988 with rel="next"'),
  row("referrers-filter", "SHOULD", "listing-referrers", released, "artifactType filters them"),
  row("referrers-applied", "MUST", "listing-referrers", released, "OCI-Filters-Applied says that it did"),
  row("referrers-applied-list", "MUST", "listing-referrers", released, "and lists every filter that did"),

  // management
  row("tag-delete-202", "MUST", "deleting-tags", released, "a tag is deleted with 202"),
  row("tag-delete-off", "MUST", "deleting-tags", released, "where that is switched off, 400 or 405"),
  row("manifest-delete-202", "MUST", "deleting-manifests", released, "a manifest is deleted with 202"),
  row("manifest-delete-404", "MUST", "deleting-manifests", released, "of a repository that does not exist, 404"),
  row("manifest-delete-off", "MUST", "deleting-manifests", released, "where that is switched off, 400 or 405"),
  row("blob-delete-202", "MUST", "deleting-blobs", released, "a blob is deleted with 202"),
  row("blob-delete-404", "MUST", "deleting-blobs", released, "one that is not there is 404"),
  row("blob-delete-off", "MUST", "deleting-blobs", released, "where that is switched off, 400 or 405"),

  // proxying, upgrades
  row("namespace", "SHOULD", "registry-proxying", dev, "OCI-Namespace repeats ns where it decides anything"),
  row(
    "referrers-before",
    "MUST",
    "enabling-the-referrers-api",
    released,
    "what fallback tags list is among the referrers",
  ),
  row("referrers-after", "MUST", "enabling-the-referrers-api", released, "so is everything pushed since"),

  // the API
  row("http", "SHOULD", "api", dev, "where the specification is silent, RFC 9110 speaks"),
  row("error-form", "MUST", "error-codes", released, "an error in JSON has its form"),
  row("error-code-form", "MUST", "error-codes", released, "a code is of capitals and underscores"),
  row("error-message", "SHOULD", "error-codes", released, "a message can be read by people"),
  row("error-code-list", "MUST", "error-codes", released, "a code is one of the list"),
  row("retry-after", "SHOULD", "error-codes", dev, "429 has a Retry-After"),
  row("warning-form", "MUST", "warnings", released, "warnings have code 299 and the agent -"),
  row("warning-date", "MUST", "warnings", released, "and no date"),
  row("warning-size", "MUST", "warnings", released, "4096 bytes of them at most"),
] as const satisfies readonly Requirement[];
