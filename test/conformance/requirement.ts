/** One rule of the specification that says MUST, MUST NOT, SHOULD or SHOULD NOT. */
export interface Requirement {
  readonly id: string;
  readonly level: "MUST" | "SHOULD";
  /** The heading under which it stands, as its anchor in `spec.md`. */
  readonly section: string;
  /** `dev` is what came after 1.1.1, or was only a SHOULD there. */
  readonly since: "1.1.1" | "dev";
  /** What it asks, in our words. */
  readonly rule: string;
}

const pinned = {
  "1.1.1": "v1.1.1",
  // the newest commit that was read; nothing after 1.1.1 has a tag yet
  dev: "967efdc079b91785ad18c77cc4f8991a47feefbf",
} as const;

/** Where a rule is written. */
export function linkOf({ section, since }: Requirement): string {
  return `https://github.com/opencontainers/distribution-spec/blob/${pinned[since]}/spec.md#${section}`;
}
