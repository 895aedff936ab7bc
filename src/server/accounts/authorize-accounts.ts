import type { Authorize, AuthorizeRequest, Decision } from "../authorize.js";
import { type AccessEntry, covers, formatScope } from "./access.js";
import type { AccountStore } from "./account-store.js";
import type { Authentication, Authenticator } from "./authenticate.js";
import type { OnDecision } from "./decision.js";
import { externalUrl } from "./external-url.js";
import { Policy, subjectOf } from "./policy.js";
import { holds, type Role } from "./role.js";
import type { SigningKeys } from "./signing-keys.js";

export interface AuthorizeParts {
  readonly store: AccountStore;
  readonly authenticator: Authenticator;
  readonly keys: SigningKeys;
  /** Where clients reach the registry, if that is configured. */
  readonly url: string | null;
  readonly prefix: string;
  readonly now: () => number;
  readonly onDecision: OnDecision;
}

/** Which role each action on a repository needs. */
export const neededRole = { pull: "read", push: "write", delete: "delete" } as const satisfies Record<string, Role>;

/** One request as far as it has been looked at: who it is from does not change while it is answered. */
interface Known {
  readonly authentication: Authentication;
  readonly policy: Policy;
}

/** The policy of a registry with accounts, asked before every handler. */
export function authorizeAccounts(parts: AuthorizeParts): Authorize {
  const requests = new WeakMap<object, Promise<Known>>();

  const know = async ({ headers, address }: AuthorizeRequest): Promise<Known> => ({
    authentication: await parts.authenticator.authenticate(headers.authorization, address),
    policy: new Policy(parts.store),
  });

  const challenge = async (request: AuthorizeRequest, error: string | null, message: string): Promise<Decision> => {
    const { url, prefix } = parts;
    const service = await parts.keys.issuer();
    const scope = wantedAccess(request).map(formatScope).join(" ");
    const fields = {
      realm: `${externalUrl(url, request)}${prefix}/auth/token`,
      service,
      ...(scope === "" ? {} : { scope }),
      ...(error === null ? {} : { error }),
    };
    // every value is quoted: some clients read no other
    const text = Object.entries(fields).map(([name, value]) => `${name}="${value}"`);
    return { allowed: false, status: 401, challenge: `Bearer ${text.join(",")}`, message };
  };

  const decide = async (request: AuthorizeRequest): Promise<Decision> => {
    const { action, repository, headers, purpose, mountFrom } = request;
    let known = requests.get(headers);
    if (known === undefined) {
      known = know(request);
      requests.set(headers, known);
    }
    const { authentication, policy } = await known;
    if (!authentication.ok) {
      const { retryAfter } = authentication;
      if (retryAfter !== null) return { allowed: false, status: 429, retryAfter, message: "too many failed logins" };
      return await challenge(request, "invalid_token", "these credentials are not valid");
    }
    const { identity, access, by } = authentication;
    const allowed: Decision = { allowed: true, principal: { subject: subjectOf(identity) } };
    const stranger = identity.kind === "anonymous";
    if (repository === null) {
      if (by === "nothing") return await challenge(request, null, "authentication is required");
      const lacks = access !== null && !neededAccess(request).every((entry) => covers(access, entry));
      return lacks ? await challenge(request, "insufficient_scope", "the token has not the scope for this") : allowed;
    }
    const needed = action === "push" || action === "delete" ? neededRole[action] : neededRole.pull;
    const permitted = holds(await policy.role(identity, repository), needed);
    // what a list shows, and where a mount may look, is what its reader might ask for a token for
    if (purpose !== "request") return permitted ? allowed : unknownRepository;
    if (!permitted) {
      if (stranger) {
        return await challenge(request, by === "nothing" ? null : "insufficient_scope", "authentication is required");
      }
      return needed === "read" ? unknownRepository : denied;
    }
    const mountable =
      mountFrom !== null && holds(await policy.role(identity, mountFrom), neededRole.pull) ? mountFrom : null;
    const wanted = neededAccess({ ...request, mountFrom: mountable });
    if (access !== null && !wanted.every((entry) => covers(access, entry))) {
      return await challenge(
        { ...request, mountFrom: mountable },
        "insufficient_scope",
        "the token has not the scope for this",
      );
    }
    return allowed;
  };

  return async (request) => {
    const decision = await decide(request);
    if (request.purpose === "request") await report(request, decision, await requests.get(request.headers), parts);
    return decision;
  };
}

async function report(
  { action, repository, address }: AuthorizeRequest,
  decision: Decision,
  known: Known | undefined,
  { now, onDecision }: AuthorizeParts,
): Promise<void> {
  const authentication = known?.authentication;
  onDecision({
    time: new Date(now()).toISOString(),
    kind: "request",
    address,
    subject: authentication?.ok ? subjectOf(authentication.identity) : null,
    account: authentication?.ok === false ? authentication.account : null,
    action,
    target: repository,
    allowed: decision.allowed,
    status: decision.allowed ? null : decision.status,
  });
}

const denied: Decision = { allowed: false, status: 403, message: "this account may not do this here" };
/** The same for what is not there and for what somebody may not see. */
const unknownRepository: Decision = { allowed: false, status: 404, message: "there is no such repository" };

/** What a token has to hold for a request. */
function neededAccess({ action, repository, mountFrom }: AuthorizeRequest): readonly AccessEntry[] {
  if (action === "catalog") return [{ type: "registry", name: "catalog", actions: ["*"] }];
  if (repository === null) return [];
  const own = { type: "repository", name: repository, actions: [action] };
  return mountFrom === null ? [own] : [own, { type: "repository", name: mountFrom, actions: ["pull"] }];
}

/** What a client is told to ask for: who pushes looks at what is there before. */
function wantedAccess(request: AuthorizeRequest): readonly AccessEntry[] {
  return neededAccess(request).map((entry) =>
    entry.actions.includes("push") ? { ...entry, actions: ["pull", "push"] } : entry,
  );
}
