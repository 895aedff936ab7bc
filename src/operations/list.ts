import { isLadingError, LadingError } from "../errors.js";
import { authorityOf, isAuthority } from "../image/reference.js";
import { RemoteImage } from "../image/remote-image.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { globMatcher } from "./glob.js";

/** Options of `list`. */
export interface ListOptions extends CallOptions {
  /** Shell pattern on the printed name: `*` within a component, `**` over several, `?`, `[…]`. */
  readonly glob?: string | null | undefined;
  /** Lists an external registry (`host[:port]`) instead of a cluster's. */
  readonly registry?: string | null | undefined;
}

/** The result of `list` as JSON. */
export interface ListJson {
  readonly cluster: string | null;
  readonly registry: string;
  readonly images: readonly {
    readonly image: string;
    readonly reference: string;
    readonly org: string | null;
    readonly owner: string | null;
    readonly name: string;
  }[];
  readonly warnings: readonly string[];
}

/** The repositories of a registry. */
export interface ListResult {
  readonly cluster: string | null;
  /** `host[:port]`. */
  readonly registry: string;
  readonly images: readonly RemoteImage[];
  /** What was left out, and why. */
  readonly warnings: readonly string[];
  toJSON(): ListJson;
}

/** The registry's repositories as they come, a page at a time; names that make no image are counted, not thrown. */
export async function* listPages(
  context: ClientContext,
  clusterName: string | null,
  options: ListOptions,
  signal: AbortSignal,
  skipped: string[] = [],
): AsyncGenerator<readonly RemoteImage[]> {
  const target = listTarget(context, clusterName, options);
  const matches = options.glob ? globMatcher(untagged(options.glob)) : () => true;
  const client = await context.registry(target);
  try {
    for await (const names of client.catalog({ signal, fetchCredentials: options.fetchCredentials ?? undefined })) {
      const images: RemoteImage[] = [];
      for (const name of names) {
        const image = imageOf(context, target, name);
        if (image === null) skipped.push(name);
        else if (matches(image.toString()) || matches(image.name)) images.push(image);
      }
      yield images;
    }
  } catch (error) {
    // Registries without a catalog say so in many ways; the name that is unknown is the catalog's own.
    if (isLadingError(error) && (error.code === "not-found" || error.code === "unsupported")) {
      throw new LadingError("unsupported", `${client.authority} has no catalog: it can't list its images`, {
        side: "source",
        status: error.status,
        hint: "`lading tags` lists the tags of an image whose name you know",
        cause: error,
      });
    }
    throw error;
  }
}

export async function list(
  context: ClientContext,
  clusterName: string | null,
  options: ListOptions,
  signal: AbortSignal,
): Promise<ListResult> {
  const target = listTarget(context, clusterName, options);
  const skipped: string[] = [];
  const images: RemoteImage[] = [];
  for await (const page of listPages(context, clusterName, options, signal, skipped)) images.push(...page);
  const warnings = skipped.length === 0 ? [] : [skippedWarning(skipped)];
  for (const warning of warnings) context.warn(warning);
  const cluster = "cluster" in target ? target.cluster : null;
  const registry =
    "host" in target ? target.host : authorityOf(context.config.clusters[target.cluster]?.registryUrl ?? "");
  const json: ListJson = {
    cluster,
    registry,
    images: images.map((image) => ({
      image: image.toString(),
      reference: wirePath(image),
      org: image.orgName,
      owner: image.owner,
      name: image.name,
    })),
    warnings,
  };
  return { cluster, registry, images, warnings, toJSON: () => json };
}

/**
 * A pattern for repositories has no tag and no digest: with one it would match nothing, and look like an answer.
 * `image:app*` is the pattern of a name.
 */
function untagged(glob: string): string {
  const pattern = glob.replace(/^image:(?!\/)/, "");
  if (!/[:@]/.test(pattern.slice(pattern.lastIndexOf("/") + 1))) return pattern;
  throw new LadingError("bad-reference", `${JSON.stringify(glob)} has a tag or digest, and images are listed here`, {
    image: glob,
    hint: "`lading tags IMAGE` lists tags; the pattern is for the name alone: app, 'app*' or 'image://local/**'",
  });
}

function listTarget(
  context: ClientContext,
  clusterName: string | null,
  { registry }: ListOptions,
): { readonly cluster: string } | { readonly host: string } {
  if (!registry) return { cluster: clusterName ?? context.config.cluster };
  if (!isAuthority(registry)) {
    throw new LadingError("bad-reference", `${JSON.stringify(registry)} is not a registry: expected host[:port]`);
  }
  return { host: registry };
}

/** A repository's name as an image; null where it can't be one of this cluster. */
function imageOf(
  context: ClientContext,
  target: { readonly cluster: string } | { readonly host: string },
  name: string,
): RemoteImage | null {
  try {
    if ("host" in target) return RemoteImage.newExternalImage(name, target.host);
    return context.parser.remoteImage(`image://${target.cluster}/${name}`, { tagOption: "deny" });
  } catch (error) {
    if (isLadingError(error) && error.code === "bad-reference") return null;
    throw error;
  }
}

function skippedWarning(names: readonly string[]): string {
  const shown = names.slice(0, 3).map((name) => JSON.stringify(name));
  const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : "";
  return `left out ${shown.join(", ")}${more}: no image names of this cluster`;
}
