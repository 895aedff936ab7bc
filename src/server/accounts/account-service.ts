import { randomBytes } from "node:crypto";
import type { WireRequest, WireResponse } from "../../oci/wire.js";
import type { Authorize } from "../authorize.js";
import { Fault } from "../fault.js";
import type { Storage } from "../storage/storage.js";
import { AccountRecords } from "./account-records.js";
import { AccountStore } from "./account-store.js";
import { answerAccounts } from "./accounts-api.js";
import { Authenticator } from "./authenticate.js";
import { authorizeAccounts } from "./authorize-accounts.js";
import type { OnDecision } from "./decision.js";
import { LoginLimits } from "./login-limits.js";
import { PasswordChecker } from "./password.js";
import { SigningKeys } from "./signing-keys.js";
import { Tokens } from "./token.js";
import { answerToken } from "./token-endpoint.js";

export interface AccountServiceOptions {
  readonly storage: Storage;
  readonly now: () => number;
  readonly prefix: string;
  readonly url: string | null;
  /** Seconds. */
  readonly tokenLifetime: number;
  readonly onDecision: OnDecision;
}

/** All that a registry with accounts does beyond one without. */
export class AccountService {
  readonly accounts: AccountRecords;
  readonly authorize: Authorize;
  readonly #parts: {
    readonly store: AccountStore;
    readonly records: AccountRecords;
    readonly authenticator: Authenticator;
    readonly tokens: Tokens;
    readonly keys: SigningKeys;
    readonly now: () => number;
    readonly onDecision: OnDecision;
  };

  #admitted = false;

  constructor({ storage, now, prefix, url, tokenLifetime, onDecision }: AccountServiceOptions) {
    const store = new AccountStore(storage);
    const keys = new SigningKeys(store, now);
    const tokens = new Tokens(keys, now, tokenLifetime);
    const loginLimits = new LoginLimits(now);
    const passwords = new PasswordChecker(now);
    const authenticator = new Authenticator({ store, tokens, passwords, loginLimits, now });
    this.accounts = new AccountRecords(store, now, (password) => passwords.hash(password));
    this.#parts = { store, records: this.accounts, authenticator, tokens, keys, now, onDecision };
    this.authorize = authorizeAccounts({ ...this.#parts, url, prefix });
  }

  /** @param target Path and query, beginning with `/auth/`. @throws Fault */
  async handle(request: WireRequest, target: string): Promise<WireResponse> {
    const mark = target.indexOf("?");
    let path: string;
    try {
      path = decodeURIComponent((mark === -1 ? target : target.slice(0, mark)).slice("/auth/".length));
    } catch {
      throw new Fault(404, "UNSUPPORTED", "there is no such endpoint");
    }
    if (path !== "token") return await answerAccounts(request, path, this.#parts);
    return await answerToken(request, new URLSearchParams(mark === -1 ? "" : target.slice(mark + 1)), this.#parts);
  }

  /** Makes a new key for tokens; those of the one before it stay valid. */
  async rotateKeys(): Promise<void> {
    await this.#parts.keys.rotate();
  }

  /** Lets whoever may read the registry's files manage it while it is served. */
  async admitOperator(): Promise<void> {
    const secret = randomBytes(32).toString("base64url");
    await this.#parts.store.put("registry", "operator", { secret });
    this.#parts.authenticator.trustOperator(secret);
    this.#admitted = true;
  }

  async close(): Promise<void> {
    if (!this.#admitted) return;
    this.#parts.authenticator.trustOperator(null);
    await this.#parts.store.remove("registry", "operator");
  }
}
