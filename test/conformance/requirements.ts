/** What the specification asks of registries, heading by heading. */
import type { Requirement } from "./requirement.js";

type Since = Requirement["since"];
type Rule<Id extends string> = Omit<Requirement, "id" | "section"> & { readonly id: Id };

const must = <const Id extends string>(id: Id, rule: string, since: Since = "1.1.1"): Rule<Id> => {
  return { id, level: "MUST", since, rule };
};
const should = <const Id extends string>(id: Id, rule: string, since: Since = "1.1.1"): Rule<Id> => {
  return { id, level: "SHOULD", since, rule };
};

/** The rules of a heading, which is given as its anchor. */
const under = <Id extends string>(section: string, rules: readonly Rule<Id>[]) => {
  return rules.map((rule) => ({ ...rule, section }));
};

const dev = "dev";

export const requirements = [
  ...under("requirements", [
    must("category-pull", "every API of the category Pull is there"),
    should("category-others", "so are Push, Content Discovery and Content Management"),
    must("category-whole", "a category that is claimed has all its APIs"),
  ]),
  ...under("pulling-manifests", [
    must("reference-form", "a manifest is named by its digest or a tag"),
    must("reference-other", "a reference of any other form is refused"),
    must("name-form", "a repository's name matches the expression"),
    must("tag-form", "a tag has 128 characters at most and matches the expression"),
    should("manifest-type-bare", "Content-Type has no parameters"),
    should("manifest-type-pushed", "Content-Type is the one that was pushed"),
    must("manifest-200", "a manifest that is there comes with 200"),
    must("manifest-digest", "with Docker-Content-Digest", dev),
    must("manifest-404", "one that is not there is 404"),
  ]),
  ...under("pulling-blobs", [
    must("blob-200", "a blob that is there comes with 200"),
    must("blob-digest", "with Docker-Content-Digest", dev),
    must("blob-digest-true", "which is a digest of the body"),
    must("blob-404", "one that is not there is 404"),
    should("blob-range", "Range is served by RFC 9110, section 14", dev),
  ]),
  ...under("checking-if-content-exists-in-the-registry", [
    must("head-200", "HEAD of what is there is 200"),
    must("head-digest", "with Docker-Content-Digest", dev),
    must("head-length", "and Content-Length", dev),
    must("head-404", "HEAD of what is not there is 404"),
  ]),
  ...under("push", [
    must("subject-missing", "a manifest is taken before its subject"),
    must("content-missing", "one refused for content that is missing says MANIFEST_BLOB_UNKNOWN"),
  ]),
  ...under("pushing-blobs", [
    should("digest-invalid", "a digest that is wrong or of an unknown algorithm is 400", dev),
  ]),
  ...under("post-then-put", [
    must("session-202", "a session begins with 202"),
    must("session-location", "and a Location"),
    must("session-uuid", "with a UUID in it"),
    must("put-201", "PUT ends it with 201"),
    must("put-location", "and the Location of a blob that can be pulled"),
  ]),
  ...under("single-post", [
    must("length-true", "Content-Length is the blob's length"),
    must("digest-true", "the digest is the blob's"),
    should("post-202", "202 and a Location lead on where a POST alone is not enough"),
    must("post-201", "a POST with everything ends with 201"),
    must("post-location", "and the Location of a blob that can be pulled"),
  ]),
  ...under("pushing-a-blob-in-chunks", [
    must("chunked-empty-post", "it begins with a POST of Content-Length 0"),
    should("chunked-algorithm", "digest-algorithm says which digest will come", dev),
    should("chunk-minimum", "OCI-Chunk-Min-Length is said where there is one"),
    must("chunk-inclusive", "Content-Range includes both ends"),
    must("chunk-first", "the first one begins with 0"),
    must("chunk-form", "and matches the expression"),
    must("chunk-202", "a chunk is answered with 202"),
    must("chunk-headers", "with Location and Range"),
    must("chunk-order", "chunks come in order, each where the last one ends"),
    must("chunk-416", "one out of order is 416"),
    must("close-put", "PUT closes the session"),
    must("close-digest", "with the digest of the whole blob"),
    must("close-201", "and is answered with 201"),
    must("close-location", "and the Location of a blob that can be pulled"),
    must("close-416", "a last chunk out of order is 416 too", dev),
    must("status-204", "GET of a session is 204"),
    must("status-headers", "with Location and Range"),
  ]),
  ...under("cancel-a-blob-upload", [
    should("cancel-204", "DELETE of a session is 204", dev),
    should("upload-timeout", "sessions that nobody ends come to an end", dev),
  ]),
  ...under("mounting-a-blob-from-another-repository", [
    must("mount-201", "a mount is 201"),
    must("mount-location", "with the blob's Location"),
    should("mount-202", "where it can't be, 202 begins an upload"),
  ]),
  ...under("pushing-manifests", [
    should("push-type-parameters", "parameters of Content-Type are ignored"),
    must("push-reference", "a manifest is pushed to a digest or a tag"),
    must("push-content", "it names the blobs that it is made of"),
    must("push-bytes", "its bytes stay as they are"),
    must("push-201", "it is answered with 201"),
    must("push-location", "and a Location that can be pulled"),
    must("push-digest", "Docker-Content-Digest is the digest that was given"),
    should("tag-parameters", "ten tag parameters or more are taken", dev),
    must("tag-accepted", "OCI-Tag names every tag that was made", dev),
    must("repository-404", "a repository that does not exist is 404 to a pull"),
    should("size-limit", "the size of a manifest is limited"),
    should("size-413", "one that is larger is 413"),
    should("size-4mb", "4 megabytes are within the limit"),
  ]),
  ...under("pushing-manifests-with-subject", [must("subject-header", "OCI-Subject says that a subject was seen")]),
  ...under("listing-tags", [
    must("tags-200", "the list of a repository is 200"),
    must("tags-order", "in lexical or byte order", dev),
    must("tags-json", "as JSON with name and tags"),
    must("tags-count", "n gives n, unless the list ends or a Link follows"),
    must("tags-link", 'a Link is one of RFC 5988 with rel="next"'),
    must("tags-none", "n=0 gives an empty list"),
    must("tags-none-link", "and no Link"),
    must("tags-order-pages", "pages are in the same order", dev),
    must("tags-last", "last is a tag, never an index"),
    must("tags-order-last", "and what follows it is in the same order", dev),
  ]),
  ...under("listing-referrers", [
    must("referrers-200", "the referrers of a repository's digest are 200"),
    must("referrers-never-404", "never 404"),
    must("referrers-400", "a digest that is none is 400"),
    must("referrers-index", "they are an image index"),
    must("referrers-type", "whose Content-Type says so"),
    must("referrers-artifact", "with each one's artifactType"),
    must("referrers-config", "for an image without one, its config's type"),
    must("referrers-typeless", "for an index without one, none"),
    must("referrers-annotations", "and its annotations"),
    must("referrers-none", "where there are none, the list is empty"),
    must("referrers-pages", "more than fit into one answer go on by Link"),
    must("referrers-link", 'of RFC 5988 with rel="next"'),
    should("referrers-filter", "artifactType filters them"),
    must("referrers-applied", "OCI-Filters-Applied says that it did"),
    must("referrers-applied-list", "and lists every filter that did"),
  ]),
  ...under("deleting-tags", [
    must("tag-delete-202", "a tag is deleted with 202"),
    must("tag-delete-off", "where that is switched off, 400 or 405"),
  ]),
  ...under("deleting-manifests", [
    must("manifest-delete-202", "a manifest is deleted with 202"),
    must("manifest-delete-404", "of a repository that does not exist, 404"),
    must("manifest-delete-off", "where that is switched off, 400 or 405"),
  ]),
  ...under("deleting-blobs", [
    must("blob-delete-202", "a blob is deleted with 202"),
    must("blob-delete-404", "one that is not there is 404"),
    must("blob-delete-off", "where that is switched off, 400 or 405"),
  ]),
  ...under("registry-proxying", [should("namespace", "OCI-Namespace repeats ns where it decides anything", dev)]),
  ...under("enabling-the-referrers-api", [
    must("referrers-before", "what fallback tags list is among the referrers"),
    must("referrers-after", "so is everything pushed since"),
  ]),
  ...under("api", [should("http", "where the specification is silent, RFC 9110 speaks", dev)]),
  ...under("error-codes", [
    must("error-form", "an error in JSON has its form"),
    must("error-code-form", "a code is of capitals and underscores"),
    should("error-message", "a message can be read by people"),
    must("error-code-list", "a code is one of the list"),
    should("retry-after", "429 has a Retry-After", dev),
  ]),
  ...under("warnings", [
    must("warning-form", "warnings have code 299 and the agent -"),
    must("warning-date", "and no date"),
    must("warning-size", "4096 bytes of them at most"),
  ]),
];
