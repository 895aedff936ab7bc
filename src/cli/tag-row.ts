import { safeText } from "./safe-text.js";
import { formatSize } from "./size.js";

/** What `tags -l` and `info` show of a tag; details are null where they were not asked for or could not be read. */
export interface TagRow {
  readonly tag: string | null;
  readonly digest: string | null;
  readonly size: number | null;
  readonly created: string | null;
  readonly platforms: readonly string[] | null;
}

export const tagHeading = ["TAG", "DIGEST", "SIZE", "CREATED", "PLATFORMS"] as const;

/** @param terminal Whether sizes are for people; in a pipe they are bytes. */
export function tagCells(row: TagRow, terminal: boolean): readonly (string | null)[] {
  const size = row.size === null ? null : terminal ? formatSize(row.size) : String(row.size);
  return [
    row.tag ?? row.digest,
    row.digest,
    size,
    row.created,
    row.platforms?.map((name) => safeText(name)).join(",") ?? null,
  ];
}
