import { LadingError } from "../errors.js";
import { authorityOf, schemeOf } from "../image/reference.js";
import type { AccountService } from "./accounts/account-service.js";
import type { AccountDecision } from "./accounts/decision.js";
import type { RegistryOptions } from "./registry.js";
import type { Storage } from "./storage/storage.js";

/** How a registry asks who comes. */
export interface AccountsOptions {
  /**
   * Where clients reach the registry, as `https://host[:port]`: what they are sent to for their tokens.
   * @default what the `Host` of a request says, which `listen` checks. Behind anything else name it
   */
  readonly url?: string | null | undefined;
  /** How long a token is valid, in seconds: 60 to 3600. @default 900 */
  readonly tokenLifetime?: number | null | undefined;
  /** Every decision, without secrets. */
  readonly onDecision?: ((decision: AccountDecision) => void) | null | undefined;
}

/** Made when it is first needed: what it loads costs a registry without accounts nothing. */
export function lazyAccounts(
  { accounts, authorize }: Pick<RegistryOptions, "accounts" | "authorize">,
  parts: { readonly storage: Storage; readonly now: () => number; readonly prefix: string },
): (() => Promise<AccountService>) | null {
  if (!accounts) return null;
  if (authorize) throw new LadingError("usage", "a registry has accounts or an authorize, not both");
  const { url, tokenLifetime, onDecision } = accounts === true ? ({} as AccountsOptions) : accounts;
  const lifetime = tokenLifetime ?? 900;
  if (!Number.isInteger(lifetime) || lifetime < 60 || lifetime > 3600) {
    throw new LadingError("usage", "a token is valid for 60 to 3600 seconds");
  }
  const external = (url ?? "") === "" ? null : `${schemeOf(url)}://${authorityOf(url)}`;
  let made: Promise<AccountService> | null = null;
  return () => {
    made ??= import("./accounts/account-service.js").then(
      (module) =>
        new module.AccountService({
          ...parts,
          url: external,
          tokenLifetime: lifetime,
          onDecision: onDecision ?? (() => undefined),
        }),
    );
    return made;
  };
}
