import { Limiter } from "../content/limiter.js";
import { isLadingError, LadingError, type LadingErrorJson } from "../errors.js";
import type { RemoteImage } from "../image/remote-image.js";
import { Tag } from "../image/tag.js";
import type { Digest } from "../oci/digest.js";
import { checkedChoice } from "./call-options.js";
import { type CallOptions, type ClientContext, wirePath } from "./context.js";
import { globMatcher } from "./glob.js";
import { RemoteDetails } from "./remote-details.js";

/** Options of `tags`. */
export interface TagsOptions extends CallOptions {
  /** Fetch digest, size, date and platforms of each tag. @default false */
  readonly details?: boolean | null | undefined;
  /** `date` and `size` need details, newest and largest first. Default: as the registry has them. */
  readonly sort?: "name" | "date" | "size" | null | undefined;
  /** Shell pattern on the tag. */
  readonly filter?: string | null | undefined;
}

/** One tag; null is what was not asked for or is not known. */
export interface TagRow {
  readonly tag: string;
  readonly digest: Digest | null;
  readonly mediaType: string | null;
  /** Compressed bytes of the distinct layers. */
  readonly size: number | null;
  /** RFC 3339 UTC. */
  readonly created: string | null;
  readonly platforms: readonly string[] | null;
  /** Why this tag's details are missing. */
  readonly error: LadingErrorJson | null;
}

/** The result of `tags` as JSON. */
export interface TagsJson {
  readonly image: string;
  readonly reference: string;
  readonly tags: readonly TagRow[];
}

/** The tags of a repository. */
export interface TagsResult {
  readonly image: RemoteImage;
  /** `host/path`. */
  readonly reference: string;
  readonly tags: readonly TagRow[];
  toJSON(): TagsJson;
}

/** Tags whose details are fetched at the same time; the connections to the host bound what is on the wire. */
const rowsAtOnce = 32;

/** `tags` lists a whole repository. @throws LadingError `bad-reference` */
function refuseTag(image: RemoteImage): void {
  if (image.tag === null && image.digest === null) return;
  throw new LadingError("bad-reference", `${image} names one image; tags are listed of a repository`, {
    hint: "leave the tag or digest out",
  });
}

/** Tags as the registry gives them, a page at a time. */
export async function* tagPages(
  context: ClientContext,
  image: RemoteImage,
  options: CallOptions,
  signal: AbortSignal,
): AsyncGenerator<readonly string[]> {
  refuseTag(image);
  const repository = await context.repository(image, "source", options);
  yield* repository.tags({ signal });
}

export async function tags(
  context: ClientContext,
  image: RemoteImage,
  options: TagsOptions,
  signal: AbortSignal,
): Promise<TagsResult> {
  const sort = checkedChoice("sort", options.sort, ["name", "date", "size"]);
  const names: string[] = [];
  for await (const page of tagPages(context, image, options, signal)) names.push(...page);
  const matches = options.filter ? globMatcher(options.filter) : () => true;
  const wanted = names.filter((name) => matches(name));
  const byDetails = sort === "date" || sort === "size";
  let rows: TagRow[];
  if (options.details || byDetails) {
    const details = new RemoteDetails(await context.repository(image, "source", options), signal);
    const limiter = new Limiter(rowsAtOnce);
    rows = await Promise.all(wanted.map((tag) => limiter.run(() => detailedRow(details, tag, signal), signal)));
  } else {
    rows = wanted.map((tag) => ({ ...emptyRow, tag }));
  }
  sortRows(rows, sort);
  const reference = wirePath(image);
  const json: TagsJson = { image: image.toString(), reference, tags: rows };
  return { image, reference, tags: rows, toJSON: () => json };
}

const emptyRow: Omit<TagRow, "tag"> = {
  digest: null,
  mediaType: null,
  size: null,
  created: null,
  platforms: null,
  error: null,
};

/** One tag that can't be read is no reason to show none of the others. */
async function detailedRow(details: RemoteDetails, tag: string, signal: AbortSignal): Promise<TagRow> {
  try {
    return await tagRow(details, tag);
  } catch (error) {
    if (!isLadingError(error) || signal.aborted || fatal.has(error.code)) throw error;
    return { ...emptyRow, tag, error: error.toJSON() };
  }
}

/** What is wrong with the registry or the caller, not with one tag. */
const fatal: ReadonlySet<string> = new Set([
  "cancelled",
  "timeout",
  "closed",
  "tls",
  "unreachable",
  "unauthorized",
  "rate-limited",
]);

async function tagRow(details: RemoteDetails, tag: string): Promise<TagRow> {
  const top = await details.top(tag);
  const images = await details.images(top);
  const configs = await Promise.all(images.map(({ image }) => details.config(image)));
  const dates = configs.flatMap((config) => (config?.created ? [config.created] : [])).sort();
  return {
    tag,
    digest: top.descriptor.digest,
    mediaType: top.descriptor.mediaType,
    size: await details.size(top),
    created: utc(dates.at(-1) ?? null),
    platforms: images.flatMap(({ platform }) => (platform === null ? [] : [platform])),
    error: null,
  };
}

/** RFC 3339 in UTC, whatever zone the image was built in; null where it is no date. */
export function utc(date: string | null): string | null {
  if (date === null) return null;
  const time = new Date(date);
  if (Number.isNaN(time.getTime())) return null;
  return date.endsWith("Z") ? date : time.toISOString();
}

function sortRows(rows: TagRow[], sort: TagsOptions["sort"]): void {
  if (sort === "name") rows.sort((one, two) => (one.tag < two.tag ? -1 : one.tag > two.tag ? 1 : 0));
  if (sort === "size") rows.sort((one, two) => (two.size ?? -1) - (one.size ?? -1));
  if (sort === "date") rows.sort((one, two) => time(two.created) - time(one.created));
}

function time(date: string | null): number {
  return date === null ? Number.NEGATIVE_INFINITY : Date.parse(date);
}

/** The result of `tagInfo` as JSON. */
export interface TagInfoJson extends TagRow {
  readonly image: string;
  readonly reference: string;
}

/** One tag with its details. */
export interface TagInfoResult extends TagRow {
  readonly image: RemoteImage;
  /** `host/path`. */
  readonly reference: string;
  toJSON(): TagInfoJson;
}

/** One row of `tags` with details. */
export async function info(
  context: ClientContext,
  image: RemoteImage,
  options: CallOptions,
  signal: AbortSignal,
): Promise<TagInfoResult> {
  const details = new RemoteDetails(await context.repository(image, "source", options), signal);
  const row = await tagRow(details, image.digest ?? image.tag ?? "latest");
  const named = { ...row, tag: image.tag ?? (image.digest === null ? "latest" : image.digest) };
  const reference = wirePath(image);
  const json: TagInfoJson = { image: image.toString(), reference, ...named };
  return { ...named, image, reference, toJSON: () => json };
}

export async function tagInfo(
  context: ClientContext,
  image: RemoteImage,
  options: CallOptions,
  signal: AbortSignal,
): Promise<Tag> {
  const details = new RemoteDetails(await context.repository(image, "source", options), signal);
  const top = await details.top(image.digest ?? image.tag ?? "latest");
  return new Tag(image.tag ?? image.digest ?? "latest", await details.size(top));
}
