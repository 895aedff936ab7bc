/** What the parser needs to know; see `docs/` on names. */
export interface NameContext {
  /** Cluster name -> registry URL. */
  readonly clusters: Readonly<Record<string, string>>;
  readonly cluster: string;
  readonly owner: string | null;
  readonly org: string | null;
}
