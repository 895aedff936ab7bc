import { isRepositoryPath } from "../../image/reference.js";

/** What a token says its bearer may do, as the distribution project writes it. */
export interface AccessEntry {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** Scopes of one request to the token service that are looked at. */
export const mostScopes = 50;

/**
 * Reads scopes: the parameter may be repeated, and each value may hold several, split by spaces. Type and actions
 * are cut off at both ends, since a name may have a port in it. What makes no sense is passed over.
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/auth/scope.md
 */
export function parseScopes(values: readonly string[]): readonly AccessEntry[] {
  const entries: AccessEntry[] = [];
  for (const text of values.flatMap((value) => value.split(" ")).slice(0, mostScopes)) {
    const first = text.indexOf(":");
    const last = text.lastIndexOf(":");
    if (first < 1 || last <= first) continue;
    // `repository(plugin)` is a repository with a class, which says nothing of rights
    const type = text.slice(0, first).replace(/\([a-z0-9]+\)$/, "");
    const name = text.slice(first + 1, last);
    const actions = [...new Set(text.slice(last + 1).split(","))].filter((action) =>
      /^(?:[a-z]{1,20}|\*)$/.test(action),
    );
    if (type === "repository" && !isRepositoryPath(name)) continue;
    entries.push({ type, name, actions });
  }
  return entries;
}

export function formatScope({ type, name, actions }: AccessEntry): string {
  return `${type}:${name}:${actions.join(",")}`;
}

export function covers(access: readonly AccessEntry[], wanted: AccessEntry): boolean {
  return wanted.actions.every((action) =>
    access.some(({ type, name, actions }) => type === wanted.type && name === wanted.name && actions.includes(action)),
  );
}
