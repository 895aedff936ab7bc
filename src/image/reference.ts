/**
 * The grammar of references, in one place: what a host, a repository path, a tag and an image ID look like.
 * Pure and linear: every pattern is anchored, has no nested repetition over the same characters, and is only run
 * on text whose length has been checked.
 * @see https://github.com/distribution/reference/blob/v0.6.0/reference.go
 */
import { LadingError } from "../errors.js";
import { type Digest, parseDigest } from "../oci/digest.js";

/** Characters of a whole reference that are looked at: the longest valid one is far shorter. */
export const maxReferenceLength = 1024;
/** Characters of a name with its registry host: the limit of the distribution registry. */
export const maxNameLength = 255;

export type Scheme = "https" | "http";

/** A reference in its parts, each of them checked. */
export interface ReferenceParts {
  /** `host[:port]` in lower case, or null where the first component is none. */
  readonly host: string | null;
  readonly path: string;
  readonly tag: string | null;
  readonly digest: Digest | null;
}

const pathComponent = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const hostForm =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])$/;
const portForm = /^[1-9][0-9]{0,4}$/;
const clusterForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const imageIdForm = /^sha256:[a-f0-9]{64}$/;
/** Engines take it for an ID where they can, and for a name where they must: nobody can tell what is meant. */
const bareImageId = /^[a-f0-9]{64}$/;

/** Text from outside as it may stand in a message: quoted, shortened, without control characters. */
export function quoted(text: unknown): string {
  if (typeof text !== "string") return text === null ? "null" : `a value of type ${typeof text}`;
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  const escaped = shown.replace(/[^\x20-\x7e…]|["\\]/g, (character) =>
    character === '"' || character === "\\"
      ? `\\${character}`
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `"${escaped}"`;
}

/** The error of everything that is no valid name. */
export function badReference(message: string, hint: string | null = null): LadingError {
  return new LadingError("bad-reference", message, { hint });
}

/** One component of a repository path: an owner, an organisation, or a part of a name. */
export function isPathComponent(text: unknown): text is string {
  return typeof text === "string" && text.length <= maxNameLength && pathComponent.test(text);
}

/** Components joined by `/`, at most 255 characters. */
export function isRepositoryPath(text: unknown): text is string {
  return typeof text === "string" && text.length <= maxNameLength && text.split("/").every(isPathComponent);
}

export function isTag(text: unknown): text is string {
  return typeof text === "string" && tagForm.test(text);
}

export function isClusterName(text: unknown): text is string {
  return typeof text === "string" && clusterForm.test(text);
}

/** `sha256:<64 hex>`: an engine's ID of an image, which is no name. */
export function isImageId(text: unknown): text is string {
  return typeof text === "string" && imageIdForm.test(text);
}

/** `host` or `host:port`; an IPv6 address stands in brackets. */
export function isAuthority(text: unknown): text is string {
  if (typeof text !== "string" || text.length > maxNameLength) return false;
  const portAt = text.lastIndexOf(":");
  if (portAt === -1 || text.endsWith("]")) return hostForm.test(text);
  const port = text.slice(portAt + 1);
  return hostForm.test(text.slice(0, portAt)) && portForm.test(port) && Number(port) <= 65535;
}

/** Whether the first component of a name is meant as a registry host, valid or not: it has a `.` or `:`, or is `localhost`. */
export function looksLikeHost(component: string): boolean {
  return component === "localhost" || component.includes(".") || component.includes(":");
}

/**
 * Host and port (only where the URL names one) of a registry's URL, in lower case.
 * @throws LadingError `config-invalid` where it is not `http(s)://host[:port]`
 */
export function authorityOf(url: unknown): string {
  return splitUrl(url).authority;
}

/** @throws LadingError `config-invalid` as {@link authorityOf} */
export function schemeOf(url: unknown): Scheme {
  return splitUrl(url).scheme;
}

function splitUrl(url: unknown): { readonly authority: string; readonly scheme: Scheme } {
  const match =
    typeof url === "string" && url.length <= maxReferenceLength ? /^(https?):\/\/([^/]*)\/?$/i.exec(url) : null;
  const authority = match?.[2]?.toLowerCase();
  if (!isAuthority(authority)) {
    throw new LadingError("config-invalid", "a registry URL is not of the form https://host[:port]", {
      hint: "give http or https, host and port alone: no user, path, query or fragment",
    });
  }
  return { authority, scheme: match?.[1]?.toLowerCase() === "http" ? "http" : "https" };
}

/** The registry of names that have none. */
export const dockerHub = "docker.io";
const dockerHubAliases: ReadonlySet<string> = new Set([dockerHub, "index.docker.io", "registry-1.docker.io"]);

/** `host[:port]` in lower case, Docker Hub under its one name: what decides whether two names mean one registry. */
export function canonicalAuthority(authority: string): string {
  const lower = authority.toLowerCase();
  return dockerHubAliases.has(lower) ? dockerHub : lower;
}

/** Whether `host[:port]` is this machine by its name or literal address: the only hosts spoken to without TLS unasked. */
export function isLoopbackHost(authority: string): boolean {
  const host = authority.endsWith("]") ? authority : authority.replace(/:\d+$/, "");
  return (
    host.toLowerCase() === "localhost" || host === "[::1]" || /^127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}$/.test(host)
  );
}

/** The text, if it is one and of a length that is worth looking at. @throws LadingError `bad-reference` */
export function checkedText(text: unknown): string {
  if (typeof text !== "string") throw badReference(`an image name is a string, not ${quoted(text)}`);
  if (text === "") throw badReference("an image name is empty");
  if (text.length > maxReferenceLength) {
    throw badReference(`an image name is too long: ${text.length} characters, at most ${maxReferenceLength} are read`);
  }
  if (text.startsWith("-"))
    throw badReference(`${quoted(text)} begins with "-": an image name begins with a letter or digit`);
  return text;
}

/** A name with an optional host in its two parts. @throws LadingError `bad-reference` */
export function splitName(name: string, shown: string = name): { readonly host: string | null; readonly path: string } {
  if (name.length > maxNameLength) {
    throw badReference(`the name in ${quoted(shown)} is too long: ${name.length} characters, at most ${maxNameLength}`);
  }
  const slash = name.indexOf("/");
  const first = slash === -1 ? "" : name.slice(0, slash);
  if (bareImageId.test(name)) {
    throw badReference(`${quoted(shown)} is an image's ID without its sha256:, and no name`, "write sha256: before it");
  }
  if (!looksLikeHost(first)) return { host: null, path: checkedPath(name, shown) };
  if (!isAuthority(first))
    throw badReference(`${quoted(first)} in ${quoted(shown)} is no registry host: expected host[:port]`);
  return { host: first.toLowerCase(), path: checkedPath(name.slice(slash + 1), shown) };
}

/** @throws LadingError `bad-reference` */
export function checkedPath(path: unknown, shown: unknown = path): string {
  if (typeof path === "string" && isRepositoryPath(path)) return path;
  if (typeof path !== "string") throw badReference(`an image's name is a string, not ${quoted(path)}`);
  if (path === "") throw badReference(`${quoted(shown)} has no name`);
  if (path.length > maxNameLength)
    throw badReference(`the name in ${quoted(shown)} is longer than ${maxNameLength} characters`);
  if (path !== path.toLowerCase()) {
    throw badReference(
      `${quoted(shown)} has upper case letters in its name`,
      "names are lower case; only tags may have upper case",
    );
  }
  if (path.startsWith("/") || path.endsWith("/") || path.includes("//")) {
    throw badReference(`${quoted(shown)} has an empty part between, before or after slashes`);
  }
  throw badReference(
    `${quoted(shown)} is not a valid name`,
    "a name has lower case letters and digits, with . _ __ or - between them, in parts joined by /",
  );
}

/** @throws LadingError `bad-reference` */
export function checkedTag(tag: unknown, shown: unknown = tag): string {
  if (isTag(tag)) return tag;
  if (tag === "") throw badReference(`${quoted(shown)} has an empty tag`);
  if (typeof tag === "string" && tag.length > 128)
    throw badReference(`the tag in ${quoted(shown)} is longer than 128 characters`);
  throw badReference(
    `${quoted(tag)} is not a valid tag`,
    "a tag has letters, digits, _ . and -, begins with none of . and -, and has at most 128 characters",
  );
}

/** Cuts `[:tag][@digest]` off; what is left is not checked yet. @throws LadingError `bad-reference` */
export function splitTail(
  text: string,
  shown: string = text,
): { name: string; tag: string | null; digest: Digest | null } {
  const at = text.indexOf("@");
  const digest = at === -1 ? null : parseDigest(text.slice(at + 1));
  const named = at === -1 ? text : text.slice(0, at);
  const lastSlash = named.lastIndexOf("/");
  const colon = named.indexOf(":", lastSlash + 1);
  if (colon === -1) return { name: named, tag: null, digest };
  const tag = named.slice(colon + 1);
  if (tag.includes(":")) throw badReference(`${quoted(shown)} has more than one tag`);
  if (colon === lastSlash + 1) throw badReference(`${quoted(shown)} has no name before its tag`);
  return { name: named.slice(0, colon), tag: checkedTag(tag, shown), digest };
}

/**
 * `[host[:port]/]path[:tag][@digest]` in its parts.
 * @throws LadingError `bad-reference`
 */
export function splitReference(text: unknown): ReferenceParts {
  const checked = checkedText(text);
  const { name, tag, digest } = splitTail(checked);
  return { ...splitName(name, checked), tag, digest };
}

/**
 * Whether text in a remote position says by itself that it is remote: `image:…`, or a first component that is a host
 * with something after it. Says nothing about its being valid.
 */
export function isExplicitRemote(text: unknown): boolean {
  if (typeof text !== "string") return false;
  if (text.startsWith("image:")) return true;
  const slash = text.indexOf("/");
  return slash !== -1 && slash < text.length - 1 && looksLikeHost(text.slice(0, slash));
}
