/** One decision as the log shows it: never a secret, and no name that nobody has. */
export interface AccountDecision {
  /** RFC 3339. */
  readonly time: string;
  /** `login` at the token service, `request` to a repository, `manage` for accounts themselves. */
  readonly kind: "login" | "request" | "manage";
  /** The peer's, where it is known. */
  readonly address: string | null;
  /** `user:NAME:ID`, `key:ID` or `operator`; null is anonymous or unknown. */
  readonly subject: string | null;
  /** The account whose name was given with a wrong password, where there is such an account. */
  readonly account: string | null;
  readonly action: string;
  /** A repository, or the scope or name that is managed. */
  readonly target: string | null;
  readonly allowed: boolean;
  /** The status of a refusal, else null. */
  readonly status: number | null;
}

export type OnDecision = (decision: AccountDecision) => void;
