import { type Digest, digestHex, digestOf } from "../oci/digest.js";
import type { JsonObject } from "./json-lines.js";

/**
 * The name of each layer's folder in an export of Docker's graph driver, before the export comes: the v1 ID, a hash
 * over the chain of layers below and, for the top layer, over the image's config. So a layer whose compressed form is
 * known can be passed by instead of being compressed again, in a stream that says what is what only at its end.
 * A wrong guess (another engine, a time zone of its own) is no harm: the folder is then a name that nobody knows.
 * @see https://github.com/moby/moby/blob/v20.10.24/image/v1/imagev1.go (CreateID)
 * @see https://github.com/moby/moby/blob/v20.10.24/image/tarexport/save.go (saveImage)
 * @param inspected The engine's `inspect` document of the image.
 * @param timeZoneOffset Minutes, as `Date.prototype.getTimezoneOffset` has it at the epoch: Docker writes the epoch
 *   in its local time zone.
 * @returns Folder name (64 hex) -> diff ID.
 */
export function legacyLayerIds(
  diffIds: readonly Digest[],
  inspected: JsonObject,
  timeZoneOffset: number,
): ReadonlyMap<string, Digest> {
  const ids = new Map<string, Digest>();
  for (const epoch of new Set([epochIn(0), epochIn(timeZoneOffset)])) {
    let parent: Digest | null = null;
    chainIds(diffIds).forEach((chainId, index) => {
      const top = index === diffIds.length - 1;
      const v1Image: Record<string, unknown> = top ? topImage(inspected) : { created: epoch, container_config: empty };
      v1Image.layer_id = chainId;
      if (parent !== null) v1Image.parent = parent;
      parent = digestOf(goJson(v1Image));
      const diffId = diffIds[index];
      if (diffId !== undefined) ids.set(digestHex(parent), diffId);
    });
  }
  return ids;
}

/**
 * The path of each layer's tar in an export, in all the ways in which engines have named it: by v1 ID (Docker before
 * 25), by diff ID (Docker since then, and Podman).
 * @returns Path -> diff ID.
 */
export function layerNames(
  diffIds: readonly Digest[],
  inspected: JsonObject,
  timeZoneOffset: number,
): ReadonlyMap<string, Digest> {
  const names = new Map<string, Digest>();
  for (const diffId of diffIds) {
    names.set(`${digestHex(diffId)}.tar`, diffId);
    names.set(`blobs/sha256/${digestHex(diffId)}`, diffId);
  }
  for (const [id, diffId] of legacyLayerIds(diffIds, inspected, timeZoneOffset)) names.set(`${id}/layer.tar`, diffId);
  return names;
}

/** The ID of each layer together with all below it. @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#layer-chainid */
export function chainIds(diffIds: readonly Digest[]): readonly Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}

/** Go's zero `container.Config`, field by field. */
const empty = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: null,
  Cmd: null,
  Image: "",
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
} as const;

/** Go's `image.V1Image` out of what `inspect` tells, empty fields left out as Go does. */
function topImage(inspected: JsonObject): Record<string, unknown> {
  const { Architecture, Author, Comment, Config, Container, ContainerConfig, Created, DockerVersion, Os, Variant } =
    inspected;
  const fields = {
    architecture: Architecture,
    author: Author,
    comment: Comment,
    config: Config,
    container: Container,
    container_config: ContainerConfig,
    created: Created,
    docker_version: DockerVersion,
    os: Os,
    variant: Variant,
  };
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== "" && value !== undefined && value !== null),
  );
}

/** JSON as Go's encoder writes a map: keys sorted, and HTML's characters escaped. */
function goJson(value: Readonly<Record<string, unknown>>): string {
  const sorted = Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
  return JSON.stringify(sorted).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The epoch as RFC 3339 in a time zone. */
function epochIn(timeZoneOffset: number): string {
  if (timeZoneOffset === 0) return "1970-01-01T00:00:00Z";
  const minutes = Math.abs(timeZoneOffset);
  const zone = `${String(Math.trunc(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
  const local = new Date(-timeZoneOffset * 60_000).toISOString().slice(0, 19);
  return `${local}${timeZoneOffset < 0 ? "+" : "-"}${zone}`;
}
