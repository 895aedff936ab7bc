import { isRepositoryPath, isTag } from "../image/reference.js";
import { type Digest, isDigest } from "../oci/digest.js";
import { Fault } from "./fault.js";

/** What somebody wants to do with a repository: what {@link Authorize} decides about. */
export type Action = "pull" | "push" | "delete" | "catalog" | "ping";

interface Target {
  readonly method: string;
  readonly action: Action;
  readonly query: URLSearchParams;
}

interface InRepository extends Target {
  readonly repository: string;
}

/** One endpoint of the registry with its checked parameters. */
export type Route =
  | (Target & { readonly endpoint: "base" | "catalog" })
  | (InRepository & { readonly endpoint: "tags" | "uploads" })
  | (InRepository & { readonly endpoint: "blob" | "referrers"; readonly digest: Digest })
  | (InRepository & { readonly endpoint: "upload"; readonly uploadId: string })
  | (InRepository & { readonly endpoint: "manifest"; readonly reference: Digest | string });

const uploadIdForm = /^[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}$/;

const maxComponents = 32;

/** Which right each method of each endpoint needs: the only place that says so. */
export const endpointActions: Readonly<Record<Route["endpoint"], Readonly<Record<string, Action>>>> = {
  base: { GET: "ping", HEAD: "ping" },
  catalog: { GET: "catalog", HEAD: "catalog" },
  tags: { GET: "pull", HEAD: "pull" },
  referrers: { GET: "pull", HEAD: "pull" },
  blob: { GET: "pull", HEAD: "pull", DELETE: "delete" },
  manifest: { GET: "pull", HEAD: "pull", PUT: "push", DELETE: "delete" },
  uploads: { POST: "push" },
  upload: { GET: "push", HEAD: "push", PATCH: "push", PUT: "push", DELETE: "push" },
};

function actionOf(endpoint: Route["endpoint"], method: string): Action {
  const allowed = endpointActions[endpoint];
  const action = Object.hasOwn(allowed, method) ? allowed[method] : undefined;
  if (action === undefined) {
    throw new Fault(405, "UNSUPPORTED", "this method is not supported here", {
      headers: { allow: Object.keys(allowed).join(", ") },
    });
  }
  return action;
}

function unknownEndpoint(): Fault {
  return new Fault(404, "UNSUPPORTED", "there is no such endpoint");
}

function checkedRepository(segments: readonly string[]): string {
  const repository = segments.join("/");
  if (segments.length === 0) throw unknownEndpoint();
  if (segments.length > maxComponents || !isRepositoryPath(repository)) {
    throw new Fault(400, "NAME_INVALID", "this is not a valid repository name");
  }
  return repository;
}

function checkedDigest(text: string): Digest {
  if (!isDigest(text)) throw new Fault(400, "DIGEST_INVALID", "expected sha256:<64 hex> or sha512:<128 hex>");
  return text;
}

function checkedReference(text: string, method: string): Digest | string {
  if (text.includes(":")) return checkedDigest(text);
  if (isTag(text)) return text;
  // nothing can be stored under it, so that nothing is there
  if (method === "PUT") throw new Fault(400, "MANIFEST_INVALID", "this is not a valid tag");
  throw new Fault(404, "MANIFEST_UNKNOWN", "this is not a valid tag");
}

/**
 * Which endpoint a request is for. The path is decoded once and read from its end, since a repository's name may
 * hold any of the words (`a/manifests/blobs` is one).
 * @param target Path and query, the registry's prefix taken off.
 * @throws Fault
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints
 */
export function parseRoute(method: string, target: string): Route {
  const mark = target.indexOf("?");
  const query = new URLSearchParams(mark === -1 ? "" : target.slice(mark + 1));
  let path: string;
  try {
    path = decodeURIComponent(mark === -1 ? target : target.slice(0, mark));
  } catch {
    throw new Fault(400, "NAME_INVALID", "the path is not valid UTF-8 in percent-encoding");
  }
  if (path === "/v2" || path === "/v2/") return { endpoint: "base", method, action: actionOf("base", method), query };
  if (!path.startsWith("/v2/")) throw unknownEndpoint();
  const segments = path.slice("/v2/".length).split("/");
  if (segments.length === 1 && segments[0] === "_catalog") {
    return { endpoint: "catalog", method, action: actionOf("catalog", method), query };
  }
  const [last = "", second = "", third = ""] = segments.toReversed();
  const at = <E extends Route["endpoint"]>(endpoint: E, parts: number) => ({
    endpoint,
    method,
    repository: checkedRepository(segments.slice(0, -parts)),
    action: actionOf(endpoint, method),
    query,
  });
  if (second === "tags" && last === "list") return at("tags", 2);
  if (second === "manifests") {
    return { ...at("manifest", 2), reference: checkedReference(last, method) };
  }
  if (second === "referrers") return { ...at("referrers", 2), digest: checkedDigest(last) };
  if (third === "blobs" && second === "uploads") {
    if (last === "") return at("uploads", 3);
    const route = at("upload", 3);
    if (!uploadIdForm.test(last)) throw new Fault(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload");
    return { ...route, uploadId: last };
  }
  if (second === "blobs") {
    if (last === "uploads") return at("uploads", 2);
    return { ...at("blob", 2), digest: checkedDigest(last) };
  }
  throw unknownEndpoint();
}

/** The repository that a mount reads, where it names one. */
export function mountSource(route: Route): string | null {
  if (route.endpoint !== "uploads" || route.query.get("mount") === null) return null;
  const from = route.query.get("from");
  return isRepositoryPath(from) ? from : null;
}
