import { LadingError } from "../errors.js";
import { type Digest, digestHex } from "../oci/digest.js";
import { LocalImage } from "./local-image.js";
import {
  authorityOf,
  badReference,
  checkedPath,
  checkedText,
  isImageId,
  isPathComponent,
  quoted,
  type Scheme,
  schemeOf,
  splitName,
  splitTail,
} from "./reference.js";
import { RemoteImage } from "./remote-image.js";
import type { TagOption } from "./tag.js";

/** What is known when a name is parsed. */
export interface NameContext {
  /** Cluster name -> registry URL. */
  readonly clusters: Readonly<Record<string, string>>;
  /** The current cluster. */
  readonly cluster: string;
  /** The current owner; null where none is configured. */
  readonly owner: string | null;
  /** The current organisation, if any. */
  readonly org: string | null;
}

/** How the name of a local image is read. */
export interface LocalImageOptions {
  /** @default "default" */
  readonly tagOption?: TagOption | null | undefined;
}

/** How the name of a remote image is read. */
export interface RemoteImageOptions extends LocalImageOptions {
  /** The cluster of an `image:` name that names none. @default the current cluster */
  readonly cluster?: string | null | undefined;
}

/** How a local name becomes a remote one. */
export interface ToRemoteOptions {
  /**
   * Whether the host in the name of a local image that came from another registry is dropped.
   * @default false: such a name is refused
   */
  readonly dropRegistry?: boolean | null | undefined;
}

interface KnownRegistry {
  readonly clusterName: string;
  readonly authority: string;
  readonly scheme: Scheme;
}

interface Path {
  readonly org: string | null;
  readonly owner: string;
  readonly name: string;
}

const tagOptions: ReadonlySet<string> = new Set<TagOption>(["default", "allow", "deny"]);

/** Turns text into images and images of one side into those of the other. Pure: it knows only its context. */
export class Parser {
  readonly #context: NameContext;
  readonly #registries: ReadonlyMap<string, KnownRegistry>;

  /** @throws LadingError `config-invalid` where a cluster's URL is none */
  constructor(context: NameContext) {
    this.#context = { ...context };
    this.#registries = new Map(
      Object.entries(context.clusters).map(([clusterName, url]) => [clusterName, knownRegistry(clusterName, url)]),
    );
  }

  /**
   * `[host[:port]/]path[:tag]` as the name of a local image.
   * @throws LadingError `bad-reference`
   */
  localImage(text: string, options?: LocalImageOptions | null): LocalImage {
    const checked = checkedText(text);
    refuseAmbiguous(checked);
    if (checked.startsWith("image:")) {
      throw badReference(`${quoted(checked)} names a remote image`, "a local image is named without image:");
    }
    if (checked.includes("@")) {
      throw badReference(
        `${quoted(checked)} has a digest`,
        "a local image is named by its tag, or by its image ID alone",
      );
    }
    const { name, tag } = splitTail(checked);
    splitName(name, checked);
    return new LocalImage(name, chosenTag(tag, null, options?.tagOption, checked));
  }

  /**
   * `image:…`, or a reference as Docker knows it, as the name of a remote image.
   * @throws LadingError `bad-reference`; `config-invalid` where the current owner is needed and there is none
   */
  remoteImage(text: string, options?: RemoteImageOptions | null): RemoteImage {
    const checked = checkedText(text);
    refuseAmbiguous(checked);
    const current = options?.cluster ?? this.#context.cluster;
    if (checked.startsWith("image:")) return this.#fromUri(checked, current, options?.tagOption);
    const slash = checked.indexOf("/");
    const known = slash === -1 ? null : this.#byAuthority(checked.slice(0, slash), current);
    if (known !== null) {
      const { name, tag, digest } = splitTail(checked.slice(slash + 1), checked);
      const path = this.#clusterPath(name, checked);
      return platformImage(known, path, chosenTag(tag, digest, options?.tagOption, checked), digest);
    }
    const { name, tag, digest } = splitTail(checked);
    const { host, path } = splitName(name, checked);
    const image = new RemoteImage({
      name: path,
      registry: host,
      tag: chosenTag(tag, digest, options?.tagOption, checked),
      digest,
    });
    // `image` with the tag that it gets by default is the ambiguous `image:latest`.
    if (checked === "image" && image.tag !== null) refuseAmbiguous("image:latest");
    return image;
  }

  /**
   * Where a local image is pushed to unless the caller says: the current cluster, organisation and owner, the same
   * name and tag; or, for a name that begins with a known registry, what that name says.
   * @throws LadingError `bad-reference`, also for a name of another registry; `config-invalid` without an owner
   */
  toRemote(local: LocalImage, options?: ToRemoteOptions | null): RemoteImage {
    const { name, tag } = LocalImage.from(local);
    const current = this.#context.cluster;
    const slash = name.indexOf("/");
    const known = slash === -1 ? null : this.#byAuthority(name.slice(0, slash), current);
    if (known !== null) {
      const rest = name.slice(slash + 1);
      const path = rest.includes("/") ? this.#clusterPath(rest, name) : this.#ownPath(rest, name);
      return platformImage(known, path, tag, null);
    }
    const { host, path } = splitName(name);
    const image = platformImage(this.#registry(current), this.#ownPath(path, name), tag, null);
    // `localhost/` without a port is how Podman marks a name that belongs to no registry.
    if (host === null || host === "localhost" || options?.dropRegistry === true) return image;
    const external = new RemoteImage({ name: path, registry: host, tag });
    throw badReference(
      `${quoted(name)} names an image of ${host}: the destination may be ${image} or ${external}`,
      "name the destination that you mean",
    );
  }

  /**
   * Where a remote image is pulled to unless the caller says: its name and tag, with the registry where it is external.
   * One that is named by digest alone gets the first 12 hex digits as its tag.
   * @throws LadingError `bad-reference`
   */
  toLocal(remote: RemoteImage): LocalImage {
    const { name, tag, digest, registry, clusterName } = RemoteImage.from(remote);
    const localName = clusterName !== null || registry === null ? name : `${registry}/${name}`;
    return new LocalImage(localName, tag ?? (digest === null ? null : digestHex(digest).slice(0, 12)));
  }

  /** `image:name`, `image:/owner/name`, `image://cluster/[org/]owner/name`. */
  #fromUri(text: string, current: string, tagOption: TagOption | null | undefined): RemoteImage {
    if (text.includes("?")) throw badReference(`${quoted(text)} has a query`, "an image: name has no ?");
    if (text.includes("#")) throw badReference(`${quoted(text)} has a fragment`, "an image: name has no #");
    const rest = text.slice("image:".length);
    const afterAuthority = rest.startsWith("//") ? `${rest}/`.indexOf("/", 2) : 0;
    const authority = rest.slice(2, afterAuthority);
    if (authority.includes("@")) throw badReference(`${quoted(text)} has a user before its cluster`);
    if (authority.includes(":")) throw badReference(`${quoted(text)} has a port after its cluster`);
    const registry = this.#registry(authority === "" ? current : authority);
    const pathText = rest.slice(afterAuthority);
    const isAbsolute = pathText.startsWith("/");
    const { name, tag, digest } = splitTail(isAbsolute ? pathText.slice(1) : pathText, text);
    let path: Path;
    if (authority !== "") path = this.#clusterPath(name, text);
    else if (isAbsolute) path = { ...ownerPath(name, text), org: this.#org() };
    else path = this.#ownPath(name, text);
    return platformImage(registry, path, chosenTag(tag, digest, tagOption, text), digest);
  }

  /** `[org/]owner/name`: the first component is the organisation only where it is the current one and leaves a name. */
  #clusterPath(text: string, shown: string): Path {
    const { owner, name } = ownerPath(text, shown);
    const slash = name.indexOf("/");
    if (slash === -1 || owner !== this.#org()) return { org: null, owner, name };
    return { org: owner, owner: name.slice(0, slash), name: name.slice(slash + 1) };
  }

  #ownPath(name: string, shown: string): Path {
    return { name: checkedPath(name, shown), org: this.#org(), owner: this.#owner() };
  }

  #owner(): string {
    const { owner, cluster } = this.#context;
    if (isPathComponent(owner)) return owner;
    const problem = owner === null ? "there is no owner" : `${quoted(owner)} cannot be an owner`;
    throw new LadingError("config-invalid", `${problem}, and names on cluster ${quoted(cluster)} need one`, {
      hint: 'give --owner NAME, set LADING_OWNER, or write owner = "NAME" in the configuration file; or name it: image:/OWNER/NAME',
    });
  }

  #org(): string | null {
    const { org } = this.#context;
    if (org === null || isPathComponent(org)) return org;
    throw new LadingError("config-invalid", `${quoted(org)} cannot be an organisation`, {
      hint: "it has lower case letters and digits, with . _ __ or - between them",
    });
  }

  #registry(clusterName: string): KnownRegistry {
    const registry = this.#registries.get(clusterName);
    if (registry !== undefined) return registry;
    const known = [...this.#registries.keys()].join(", ");
    throw badReference(`cluster ${quoted(clusterName)} is not known; known are: ${known === "" ? "none" : known}`);
  }

  /** The cluster whose registry it is; of several, the current one first. */
  #byAuthority(text: string, current: string): KnownRegistry | null {
    const authority = text.toLowerCase();
    const mine = [...this.#registries.values()].filter((registry) => registry.authority === authority);
    return mine.find(({ clusterName }) => clusterName === current) ?? mine[0] ?? null;
  }
}

function knownRegistry(clusterName: string, url: string): KnownRegistry {
  try {
    return { clusterName, authority: authorityOf(url), scheme: schemeOf(url) };
  } catch (error) {
    const { hint } = error as LadingError;
    throw new LadingError("config-invalid", `the registry URL of cluster ${quoted(clusterName)} is none`, {
      hint,
      cause: error,
    });
  }
}

function platformImage(registry: KnownRegistry, path: Path, tag: string | null, digest: Digest | null): RemoteImage {
  const { clusterName, authority, scheme } = registry;
  const { org, owner, name } = path;
  return new RemoteImage({ name, tag, digest, owner, orgName: org, registry: authority, clusterName, scheme });
}

/** `owner/name`, both there. */
function ownerPath(text: string, shown: string): { readonly owner: string; readonly name: string } {
  const path = checkedPath(text, shown);
  const slash = path.indexOf("/");
  if (slash === -1) throw badReference(`${quoted(shown)} has no name`, "expected an owner and a name: …/OWNER/NAME");
  return { owner: path.slice(0, slash), name: path.slice(slash + 1) };
}

/** Text that reads as an image, and is none or two. */
function refuseAmbiguous(text: string): void {
  if (isImageId(text)) throw badReference(`${quoted(text)} is an image ID, not a name`);
  if (text !== "image:latest") return;
  throw badReference(
    `${quoted(text)} is ambiguous: the local image "image", or a remote image "latest"`,
    "for the remote one write image:latest:latest, for one of Docker Hub docker.io/library/image:latest",
  );
}

function chosenTag(
  tag: string | null,
  digest: Digest | null,
  option: TagOption | null | undefined,
  shown: string,
): string | null {
  if (option !== null && option !== undefined && !tagOptions.has(option)) {
    throw new LadingError("usage", `${quoted(option)} is no tagOption`, { hint: "expected default, allow or deny" });
  }
  if (option === "deny" && tag !== null) throw badReference(`${quoted(shown)} has a tag`, "a tag is not allowed here");
  if (option === "deny" && digest !== null)
    throw badReference(`${quoted(shown)} has a digest`, "a digest is not allowed here");
  if (tag !== null || digest !== null || option === "allow" || option === "deny") return tag;
  return "latest";
}
