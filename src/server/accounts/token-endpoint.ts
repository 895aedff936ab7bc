import type { WireRequest, WireResponse } from "../../oci/wire.js";
import { bodyOf } from "../context.js";
import { Fault } from "../fault.js";
import { replyJson } from "../reply.js";
import { type AccessEntry, parseScopes } from "./access.js";
import type { AccountStore } from "./account-store.js";
import { keyId } from "./api-key.js";
import type { Authentication, Authenticator } from "./authenticate.js";
import { neededRole } from "./authorize-accounts.js";
import type { OnDecision } from "./decision.js";
import { type Identity, Policy, subjectOf } from "./policy.js";
import { holds } from "./role.js";
import type { Bearer, Tokens } from "./token.js";

export interface TokenEndpointParts {
  readonly store: AccountStore;
  readonly authenticator: Authenticator;
  readonly tokens: Tokens;
  readonly now: () => number;
  readonly onDecision: OnDecision;
}

/** Bytes of a form: fifty scopes fit many times over. */
const longestForm = 64 * 1024;

/**
 * Hands out tokens: what was asked for and may be had, and no error where that is less.
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/auth/token.md
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/auth/oauth.md
 */
export async function answerToken(
  request: WireRequest,
  query: URLSearchParams,
  parts: TokenEndpointParts,
): Promise<WireResponse> {
  const form = request.method === "POST" ? await readForm(request) : null;
  if (request.method !== "GET" && form === null) {
    throw new Fault(405, "UNSUPPORTED", "this method is not supported here", { headers: { allow: "GET, POST" } });
  }
  const address = request.address ?? null;
  const authentication =
    form === null
      ? await parts.authenticator.authenticate(request.headers.authorization, address)
      : await authenticateForm(form, request, parts.authenticator);
  report(authentication, address, parts);
  if (!authentication.ok) throw refusal(authentication);
  const { identity, access: limit } = authentication;
  const scopes = parseScopes((form ?? query).getAll("scope"));
  // a token gets no further than it came: only the secret itself gets a new one
  const bearer = limit === null ? bearerOf(identity) : null;
  if (bearer === null) throw new Fault(401, "UNAUTHORIZED", "a user name and password or an API key is needed here");
  const policy = new Policy(parts.store);
  const access: AccessEntry[] = [];
  for (const scope of scopes) {
    const actions = await grantedActions(scope, identity, policy);
    if (actions.length > 0) access.push({ ...scope, actions });
  }
  const token = await parts.tokens.issue(bearer, access);
  const answer = {
    token,
    access_token: token,
    expires_in: parts.tokens.lifetime,
    issued_at: new Date(parts.now()).toISOString(),
    ...(form === null ? {} : { scope: (form.get("scope") ?? "").slice(0, longestForm), token_type: "Bearer" }),
  };
  return replyJson(200, answer, { headers: { "cache-control": "no-store" } });
}

async function readForm(request: WireRequest): Promise<URLSearchParams> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyOf(request)) {
    size += chunk.length;
    if (size > longestForm) throw new Fault(413, "SIZE_INVALID", `a form may have ${longestForm} bytes`);
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString("utf8"));
}

async function authenticateForm(
  form: URLSearchParams,
  request: WireRequest,
  authenticator: Authenticator,
): Promise<Authentication> {
  const address = request.address ?? null;
  const grant = form.get("grant_type");
  if (grant === "password")
    return await authenticator.password(form.get("username") ?? "", form.get("password") ?? "", address);
  // an API key lives long, and stands for its owner: what others call a refresh token
  const refresh = form.get("refresh_token") ?? "";
  if (grant === "refresh_token" && keyId(refresh) !== null) return await authenticator.password("", refresh, address);
  if (grant === null) return await authenticator.authenticate(request.headers.authorization, address);
  throw new Fault(400, "UNSUPPORTED", "the grant types here are password, and refresh_token with an API key");
}

function refusal({ retryAfter }: Extract<Authentication, { ok: false }>): Fault {
  if (retryAfter !== null) {
    const headers = { "retry-after": String(retryAfter) };
    return new Fault(429, "TOOMANYREQUESTS", "too many failed logins: wait before the next one", { headers });
  }
  const headers = { "www-authenticate": 'Basic realm="lading"' };
  return new Fault(401, "UNAUTHORIZED", "this user name and password, or this API key, is not valid", { headers });
}

function bearerOf(identity: Identity): Bearer | null {
  switch (identity.kind) {
    case "anonymous":
      return { kind: "anonymous", name: "", id: "", generation: 0 };
    case "user": {
      const { name, id, generation } = identity.user;
      return { kind: "user", name, id, generation };
    }
    case "key":
      return { kind: "key", name: identity.key.id, id: identity.key.id, generation: 0 };
    case "operator":
      return null;
  }
}

async function grantedActions({ type, name, actions }: AccessEntry, identity: Identity, policy: Policy) {
  // whoever may log in at all may list; the list shows what they may read
  if (type === "registry" && name === "catalog") return actions.includes("*") ? ["*"] : [];
  if (type !== "repository") return [];
  const role = await policy.role(identity, name);
  const all = (["pull", "push", "delete"] as const).filter((action) => holds(role, neededRole[action]));
  return actions.includes("*") ? all : all.filter((action) => actions.includes(action));
}

function report(authentication: Authentication, address: string | null, { now, onDecision }: TokenEndpointParts): void {
  const { ok } = authentication;
  onDecision({
    time: new Date(now()).toISOString(),
    kind: "login",
    address,
    subject: ok ? subjectOf(authentication.identity) : null,
    account: ok ? null : authentication.account,
    action: "token",
    target: null,
    allowed: ok,
    status: ok ? null : authentication.retryAfter === null ? 401 : 429,
  });
}
