import { LadingError } from "../errors.js";
import type { Credential } from "../oci/credential.js";
import { limits } from "../oci/limits.js";
import { discard, readBody } from "./body.js";
import type { Answer, Call, Send } from "./call.js";
import { safeText } from "./registry-error.js";
import { retryAfter, waitText } from "./retry-after.js";

/** What to ask of a token service, and as whom. */
export interface TokenRequest {
  readonly realm: URL;
  readonly service: string | null;
  readonly scopes: readonly string[];
  /** Null asks as nobody. */
  readonly credential: Credential | null;
}

export interface Token {
  readonly value: string;
  /** Seconds that it lives, as the service says; at least 60. */
  readonly lifetime: number;
}

/** The characters of a bearer token, so that no answer can add a header of its own. */
const token68 = /^[A-Za-z0-9\-._~+/]+=*$/;
const defaultLifetime = 60;

/**
 * Gets a token: an identity token is exchanged by POST (OAuth2), falling back to GET where the service knows no
 * POST; a password goes with GET. No redirect is followed, and what the service says is never quoted.
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/auth/token.md
 * @see https://github.com/distribution/distribution/blob/v3.0.0/docs/content/spec/auth/oauth.md
 * @throws LadingError `unauthorized`, `denied`, `unsafe-url`, `limit-exceeded`, `unreachable`, …
 */
export async function fetchToken(send: Send, request: TokenRequest, signal: AbortSignal): Promise<Token> {
  const { credential, realm } = request;
  let answer: Answer | null = null;
  if (credential !== null && "identityToken" in credential) {
    answer = await send(postCall(request, credential.identityToken, signal));
    if (answer.status === 404 || answer.status === 405) {
      await discard(answer);
      answer = null;
    }
  }
  answer ??= await send(getCall(request, signal));
  if (answer.status === 200) return parseToken(await readBody(answer, "tokenBody", "the token answer"), realm);
  await discard(answer);
  throw refusal(answer, request);
}

function getCall({ realm, service, scopes, credential }: TokenRequest, signal: AbortSignal): Call {
  const url = new URL(realm);
  url.hash = "";
  if (service !== null) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  const authorization = basicAuthorization(credential);
  return {
    method: "GET",
    url,
    role: "realm",
    headers: { accept: "application/json", ...(authorization === null ? {} : { authorization }) },
    access: null,
    signal,
  };
}

function postCall({ realm, service, scopes }: TokenRequest, refreshToken: string, signal: AbortSignal): Call {
  const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "lading", refresh_token: refreshToken });
  if (service !== null) form.set("service", service);
  if (scopes.length > 0) form.set("scope", scopes.join(" "));
  const body = Buffer.from(form.toString());
  const url = new URL(realm);
  url.hash = "";
  return {
    method: "POST",
    url,
    role: "realm",
    headers: {
      accept: "application/json",
      "content-type": "application/x-www-form-urlencoded",
      "content-length": String(body.length),
    },
    body,
    access: null,
    signal,
  };
}

/** The `Authorization` that proves a credential itself; null where there is nothing to prove. */
export function basicAuthorization(credential: Credential | null): string | null {
  if (credential === null || "registryToken" in credential) return null;
  const pair =
    "username" in credential ? `${credential.username}:${credential.password}` : `<token>:${credential.identityToken}`;
  return `Basic ${Buffer.from(pair).toString("base64")}`;
}

function parseToken(bytes: Uint8Array, realm: URL): Token {
  let fields: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null) fields = value as Record<string, unknown>;
  } catch {
    // The parser's error would quote the answer, which may come from a service that was never meant to be shown.
  }
  const value = typeof fields.token === "string" && fields.token !== "" ? fields.token : fields.access_token;
  if (typeof value !== "string" || value.length > limits.authorization || !token68.test(value)) {
    throw new LadingError("unauthorized", `the token service ${realm.host} gave an answer without a usable token`);
  }
  const { expires_in: expires } = fields;
  const lifetime = typeof expires === "number" && Number.isFinite(expires) ? expires : defaultLifetime;
  return { value, lifetime: Math.max(defaultLifetime, lifetime) };
}

function refusal({ status, headers }: Answer, { realm, credential, scopes }: TokenRequest): LadingError {
  const host = safeText(realm.host);
  if (status === 400 || status === 401 || status === 403) {
    const who = credential === null ? "an anonymous user" : "these credentials";
    const what = scopes.length === 0 ? "" : ` for ${safeText(scopes.join(" "))}`;
    return new LadingError(
      status === 403 ? "denied" : "unauthorized",
      `the token service ${host} answered ${status} to ${who}${what}`,
      { status },
    );
  }
  if (status >= 300 && status < 400) {
    return new LadingError("unsafe-url", `the token service ${host} redirects elsewhere: not followed`, { status });
  }
  const code = status === 429 ? "rate-limited" : status >= 500 ? "unreachable" : "unauthorized";
  const wait = retryAfter(headers["retry-after"], Date.parse(headers.date ?? "") || Date.now());
  const when = wait === null ? "" : `, it says to try again in ${waitText(wait)}`;
  return new LadingError(code, `the token service ${host} answered ${status}${when}`, { status });
}
