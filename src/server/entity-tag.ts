/**
 * Whether a list of entity tags, as `If-Match` and `If-None-Match` give it, names the one of what is there.
 * @param current Null where there is nothing, which no list names.
 * @param weak Whether a tag that is marked as weak counts too, as it does for `If-None-Match`.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1
 */
export function namesEntityTag(header: string | undefined, current: string | null, weak: boolean): boolean {
  if (header === undefined || current === null) return false;
  return header.split(",").some((part) => {
    const tag = part.trim();
    return tag === "*" || (weak ? tag.replace(/^W\//, "") : tag) === current;
  });
}
