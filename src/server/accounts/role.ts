/**
 * What somebody may do below a scope; each role holds those before it. `none` takes away what a shorter scope gives.
 * `write` may move tags; `delete` may remove them, and manifests and blobs; `admin` may change members and visibility.
 */
export const roles = ["none", "read", "write", "delete", "admin"] as const;

/** What a member may, each with those before it: `none`, `read`, `write`, `delete`, `admin`. */
export type Role = (typeof roles)[number];

export function isRole(value: unknown): value is Role {
  return roles.includes(value as Role);
}

export function holds(role: Role, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed);
}

export function lesser(one: Role, other: Role): Role {
  return holds(one, other) ? other : one;
}

export function greater(one: Role, other: Role): Role {
  return holds(one, other) ? one : other;
}

/** A role below a scope: a path of whole components, such as `acme` or `acme/web`. */
export interface Grant {
  readonly scope: string;
  readonly role: Role;
}

/** `a/b/c`, `a/b`, `a`: the scopes that a path lies in, longest first. Components are never cut. */
export function scopesOf(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.map((_, index) => parts.slice(0, parts.length - index).join("/"));
}

/** Whether a path is a scope or lies in it: `acme` has `acme/web`, never `acme-evil/web`. */
export function isWithin(path: string, scope: string): boolean {
  return path === scope || path.startsWith(`${scope}/`);
}

/** The role that the longest matching scope gives, or null where none matches. */
export function grantedRole(grants: readonly Grant[], path: string): Role | null {
  for (const scope of scopesOf(path)) {
    const grant = grants.find((one) => one.scope === scope);
    if (grant !== undefined) return grant.role;
  }
  return null;
}
