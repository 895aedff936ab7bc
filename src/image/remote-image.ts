import { type Digest, parseDigest } from "../oci/digest.js";
import {
  badReference,
  canonicalAuthority,
  checkedPath,
  checkedTag,
  dockerHub,
  isAuthority,
  isClusterName,
  isImageId,
  isPathComponent,
  looksLikeHost,
  maxNameLength,
  quoted,
  type Scheme,
} from "./reference.js";

/** A `RemoteImage` as JSON; null is what it does not have. */
export interface RemoteImageJson {
  readonly name: string;
  readonly tag: string | null;
  readonly digest: string | null;
  readonly owner: string | null;
  readonly orgName: string | null;
  readonly registry: string | null;
  readonly clusterName: string | null;
}

type Optional<Fields> = { readonly [Key in keyof Fields]?: Fields[Key] | null | undefined };

/** The fields of a {@link RemoteImage}; all but the name may be left out. */
export interface RemoteImageFields extends Optional<Omit<RemoteImageJson, "name">> {
  readonly name: string;
  /** How the cluster's registry is spoken to. @default "https" */
  readonly scheme?: Scheme | null | undefined;
}

/** What an image of a cluster has beside its name. */
export interface NeuroImageOptions extends Optional<Pick<RemoteImageJson, "orgName" | "tag" | "digest">> {
  readonly owner: string;
  readonly clusterName: string;
  readonly scheme?: Scheme | null | undefined;
}

/** What an image of a registry outside of all clusters may have beside its name. */
export type ExternalImageOptions = Optional<Pick<RemoteImageJson, "tag" | "digest">>;

/**
 * An image in a registry: of the platform (`owner`, `registry` and `clusterName` are all there) or external.
 * Frozen, equal by value.
 */
export class RemoteImage {
  /** The repository's path below registry, organisation and owner. */
  readonly name: string;
  /** The tag; null where it is left out. Beside a digest it is for people: the digest decides. */
  readonly tag: string | null;
  readonly digest: Digest | null;
  /** Who manages the image; null for an external one. */
  readonly owner: string | null;
  /** The organisation that manages the image, if any. */
  readonly orgName: string | null;
  /** `host[:port]`; null for an image of Docker Hub that is named without it. */
  readonly registry: string | null;
  /** The cluster whose registry it is; null for an external image. */
  readonly clusterName: string | null;
  /** How the cluster's registry is spoken to. No part of equality or JSON: an own property that is not enumerated. */
  declare readonly scheme: Scheme;

  /**
   * With a registry, owner and cluster come together or not at all; without one, neither.
   * @throws LadingError `bad-reference`
   */
  constructor(fields: RemoteImageFields) {
    this.name = checkedPath(fields.name);
    this.tag = given(fields.tag) ? checkedTag(fields.tag) : null;
    this.digest = given(fields.digest) ? parseDigest(fields.digest) : null;
    this.owner = given(fields.owner) ? component(fields.owner, "an owner") : null;
    this.orgName = given(fields.orgName) ? component(fields.orgName, "an organisation") : null;
    this.registry = given(fields.registry) ? authority(fields.registry) : null;
    this.clusterName = given(fields.clusterName) ? cluster(fields.clusterName) : null;
    // No private field: TypeScript would take the values of two copies of the package for different things.
    Object.defineProperty(this, "scheme", { value: fields.scheme === "http" ? "http" : "https" });
    checkTogether(this);
    if (repositoryUrl(this).length > maxNameLength) {
      throw badReference(
        `the name of ${quoted(this.name)} with its registry is longer than ${maxNameLength} characters`,
      );
    }
    Object.freeze(this);
  }

  /**
   * An image of the platform.
   * @param registry `host[:port]` of the cluster's registry.
   * @throws LadingError `bad-reference`
   */
  static newNeuroImage(name: string, registry: string, options: NeuroImageOptions): RemoteImage {
    if (!given(registry)) throw badReference("required registry: an image of the platform has one");
    if (!given(options?.owner)) throw badReference("required owner: an image of the platform has one");
    if (!given(options.clusterName)) throw badReference("required cluster name: an image of the platform has one");
    const { owner, clusterName, orgName, tag, digest, scheme } = options;
    return new RemoteImage({ name, registry, owner, clusterName, orgName, tag, digest, scheme });
  }

  /**
   * An image of any other registry.
   * @param registry `host[:port]`; null for Docker Hub.
   * @throws LadingError `bad-reference`
   */
  static newExternalImage(name: string, registry?: string | null, options?: ExternalImageOptions | null): RemoteImage {
    return new RemoteImage({ name, registry, tag: options?.tag, digest: options?.digest });
  }

  /**
   * The value itself, or one of the same shape (of another copy of this package, or its JSON) as a value of this class.
   * @throws LadingError `bad-reference`
   */
  static from(value: unknown): RemoteImage {
    if (value instanceof RemoteImage) return value;
    if (typeof value === "object" && value !== null && "name" in value && "registry" in value) {
      return new RemoteImage(value as RemoteImageFields);
    }
    const hint = typeof value === "string" ? "make one of the text with client.parse.remoteImage(text)" : null;
    throw badReference(`expected a RemoteImage, not ${quoted(value)}`, hint);
  }

  /**
   * The reference by which Docker knows the image: `registry[/org]/owner/name[:tag][@digest]`.
   * @param withScheme Whether an image of the platform gets `https://` (or `http://`) before it. @default false
   */
  asDockerUrl(withScheme?: boolean | { readonly withScheme?: boolean | null | undefined } | null): string {
    const wanted = typeof withScheme === "object" ? withScheme?.withScheme === true : withScheme === true;
    const reference = unambiguous(`${repositoryUrl(this)}${tail(this)}`);
    return wanted && this.clusterName !== null ? `${this.scheme}://${reference}` : reference;
  }

  /** The same image under another tag, without a digest. @throws LadingError `bad-reference` */
  withTag(tag: string): RemoteImage {
    return new RemoteImage({ ...this, scheme: this.scheme, tag: checkedTag(tag), digest: null });
  }

  equals(other: unknown): boolean {
    if (typeof other !== "object" || other === null || !("registry" in other)) return false;
    const theirs = other as Partial<RemoteImageJson>;
    return (
      theirs.name === this.name &&
      theirs.tag === this.tag &&
      theirs.digest === this.digest &&
      theirs.owner === this.owner &&
      theirs.orgName === this.orgName &&
      theirs.registry === this.registry &&
      theirs.clusterName === this.clusterName
    );
  }

  /** `image://cluster[/org]/owner/name[:tag][@digest]`, or `[registry/]name[:tag][@digest]` for an external image. */
  toString(): string {
    const { clusterName, orgName, owner, name } = this;
    if (clusterName === null) return unambiguous(`${repositoryUrl(this)}${tail(this)}`);
    return `image://${joined(clusterName, orgName, owner, name)}${tail(this)}`;
  }

  toJSON(): RemoteImageJson {
    const { name, tag, digest, owner, orgName, registry, clusterName } = this;
    return { name, tag, digest, owner, orgName, registry, clusterName };
  }
}

/** Where an image is on the wire. */
export interface WireName {
  /** `host[:port]`; `docker.io` for Docker Hub under any of its names. */
  readonly registry: string;
  /** The whole path, with organisation and owner, and `library/` for Docker Hub's own images. */
  readonly repository: string;
  /** The digest, else the tag, else null. */
  readonly reference: string | null;
}

export function wireName(image: RemoteImage): WireName {
  const path = joined(image.orgName, image.owner, image.name);
  const reference = image.digest ?? image.tag;
  const host = canonicalAuthority(image.registry ?? dockerHub);
  if (image.clusterName !== null && image.registry !== null)
    return { registry: image.registry, repository: path, reference };
  const isOfficial = host === dockerHub && !path.includes("/");
  return { registry: host, repository: isOfficial ? `library/${path}` : path, reference };
}

function given(value: unknown): boolean {
  return value !== null && value !== undefined;
}

function joined(...parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null).join("/");
}

function repositoryUrl({ registry, orgName, owner, name }: RemoteImage): string {
  return joined(registry, orgName, owner, name);
}

function tail({ tag, digest }: RemoteImage): string {
  return `${tag === null ? "" : `:${tag}`}${digest === null ? "" : `@${digest}`}`;
}

/** Docker Hub's `image:v1` would read as a URI of the platform, and `sha256:<64 hex>` as an image ID: written out, they don't. */
function unambiguous(reference: string): string {
  return reference.startsWith("image:") || isImageId(reference) ? `${dockerHub}/library/${reference}` : reference;
}

function component(text: unknown, what: string): string {
  if (isPathComponent(text)) return text;
  throw badReference(
    `${quoted(text)} is not ${what}`,
    "it has lower case letters and digits, with . _ __ or - between them",
  );
}

function authority(text: unknown): string {
  if (isAuthority(text)) return text.toLowerCase();
  throw badReference(`${quoted(text)} is not a registry host`, "give host[:port], without a scheme and without a path");
}

function cluster(text: unknown): string {
  if (isClusterName(text)) return text;
  throw badReference(`${quoted(text)} is not a cluster's name`, "it has letters, digits, and . _ - between them");
}

function checkTogether({ name, owner, orgName, registry, clusterName }: RemoteImage): void {
  if (registry === null) {
    if (owner !== null || clusterName !== null || orgName !== null)
      throw badReference("required registry: owner and cluster belong to one");
    const slash = name.indexOf("/");
    // Printed, such a name would read back as an image of another registry.
    if (slash !== -1 && looksLikeHost(name.slice(0, slash))) {
      throw badReference(`${quoted(name)} begins with a registry host`, "give the registry on its own");
    }
    return;
  }
  if (owner !== null && clusterName === null)
    throw badReference("required cluster name: an image with an owner has one");
  if (owner === null && clusterName !== null) throw badReference("required owner: an image of a cluster has one");
  if (owner === null && orgName !== null) throw badReference("required owner: an image of an organisation has one");
  // A registry without a dot or port (`myhost/app`) would read back as a part of the name.
  if (clusterName === null && !looksLikeHost(registry)) {
    throw badReference(
      `${quoted(registry)} does not look like a registry host`,
      "a host has a dot or a port, or is localhost",
    );
  }
}
