// Over 300 lines, since how a registry wants to be asked, credentials, tokens and refusals are one state.
import { unlessAborted } from "../content/abortable.js";
import { SharedWork } from "../content/shared-work.js";
import { isLadingError, LadingError } from "../errors.js";
import type { Credential, FetchCredentials } from "../oci/credential.js";
import { limits } from "../oci/limits.js";
import { bodyOf, discard, readStart } from "./body.js";
import type { Answer, Call, Send } from "./call.js";
import { type Challenge, parseChallenges } from "./challenge.js";
import type { Clock } from "./clock.js";
import { type Access, credentialId, isCredential, scopesOf } from "./credential.js";
import { authorized } from "./origin.js";
import { basicAuthorization, fetchToken } from "./token.js";
import { type GateRules, gateUrl, isListed } from "./url-gate.js";

export interface AuthenticatorOptions {
  /** The registry as credentials name it: `host[:port]`, `docker.io` for Docker Hub. */
  readonly authority: string;
  readonly rules: GateRules;
  /** How token services are reached: gated and retried, without redirects and without credentials of its own. */
  readonly tokenSend: Send;
  /** Is told the errors of {@link tokenSend}, which has tried as often as is of use. */
  readonly spent: WeakSet<object>;
  readonly clock: Clock;
  readonly onWarning: (text: string) => void;
}

interface CachedToken {
  readonly value: string;
  /** When a new one is fetched, in ms since the epoch: somewhat before it really ends. */
  readonly renewAt: number;
}

interface Refusal {
  readonly error: LadingError;
  readonly until: number;
}

/** How a registry wants to be asked, as its last challenge said. */
type Method =
  | { readonly kind: "basic" }
  | { readonly kind: "bearer"; readonly realm: URL; readonly service: string | null };

/** Registries whose token service is at another host, as everybody knows (`registry host -> token host`). */
const knownPairs: Readonly<Record<string, string>> = {
  "registry-1.docker.io": "auth.docker.io",
  "registry.gitlab.com": "gitlab.com",
};

/** Tokens are renewed this long before their end, in ms; at most a quarter of their life. */
const renewEarly = 30_000;
/** How long a token service's refusal is believed, in ms: eight layers with a wrong password ask once. */
const refusalLifetime = 30_000;

/**
 * Proves to one registry who asks. Everything is cached by credential, so that two tenants of one client never
 * profit from each other, and every credential goes to the registry and its own token service alone.
 */
export class Authenticator {
  readonly origin: string;
  readonly #options: AuthenticatorOptions;
  readonly #credentials = new WeakMap<FetchCredentials, Map<string, Credential | null>>();
  readonly #credentialWork = new WeakMap<FetchCredentials, SharedWork<Credential | null, never>>();
  readonly #tokens = new Map<string, CachedToken>();
  readonly #tokenWork = new SharedWork<string, never>();
  readonly #refusals = new Map<string, Refusal>();
  readonly #warned = new Set<string>();
  #method: Method | null = null;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.origin = options.rules.registry.origin;
  }

  /**
   * The `Authorization` for a request, or null: nothing is sent before the registry has asked for something.
   * @param rejected The one that the registry has just refused: it is not given again.
   * @throws LadingError `unauthorized`, `denied`, `unsafe-url`, …
   */
  async authorization(
    access: Access,
    signal: AbortSignal | undefined,
    rejected: string | null,
  ): Promise<string | null> {
    const method = this.#method;
    if (method === null) return null;
    const credential = await this.#credential(access, signal);
    if (credential !== null && "registryToken" in credential) return `Bearer ${credential.registryToken}`;
    if (method.kind === "basic")
      return credential !== null && "username" in credential ? basicAuthorization(credential) : null;
    return `Bearer ${await this.#token(method, credential, access, signal, rejected)}`;
  }

  /**
   * Takes in a challenge. False where it names no way that is known here.
   * @throws LadingError `unsafe-url` for a realm that must not be asked
   */
  accept(challenges: readonly Challenge[]): boolean {
    const bearer = challenges.find(({ scheme, parameters }) => scheme === "bearer" && parameters.has("realm"));
    if (bearer !== undefined) {
      const realm = this.#realm(bearer.parameters.get("realm") ?? "");
      this.#method = { kind: "bearer", realm, service: bearer.parameters.get("service") ?? null };
      return true;
    }
    if (!challenges.some(({ scheme }) => scheme === "basic")) return false;
    this.#method = { kind: "basic" };
    return true;
  }

  /** Whether requests are made in somebody's name. */
  async hasCredential(access: Access, signal: AbortSignal | undefined): Promise<boolean> {
    return (await this.#credential(access, signal)) !== null;
  }

  /**
   * Who requests are made as, for what is kept from one run to the next: never a secret, and a user's name rather than what
   * proves it. Empty for nobody, and as long as the registry has not asked.
   */
  async identity(access: Access, signal: AbortSignal | undefined): Promise<string> {
    if (this.#method === null) return "";
    const credential = await this.#credential(access, signal);
    if (credential === null) return "";
    return "username" in credential ? `user ${credential.username}` : `token ${credentialId(credential)}`;
  }

  /** After a refusal that no new token could mend: the next request asks for the credential again. */
  forget(access: Access): void {
    this.#credentials.get(access.fetchCredentials)?.delete(accessKey(access));
  }

  /** What to do where the credential was kept from a token service, or null. */
  hint(): string | null {
    const method = this.#method;
    if (method?.kind !== "bearer" || this.#isTrusted(method.realm)) return null;
    return `if ${method.realm.host} belongs to ${this.#options.authority}, add to its cluster: authHosts = ["${method.realm.host}"]`;
  }

  #realm(text: string): URL {
    let realm: URL;
    try {
      realm = new URL(text);
    } catch {
      throw new LadingError("unsafe-url", `${this.#options.authority} names no readable token service`);
    }
    gateUrl(realm, "realm", this.#options.rules);
    return realm;
  }

  /** Whether a token service may be sent this registry's credentials (CVE-2026-33540: not just because it is named). */
  #isTrusted(realm: URL): boolean {
    const { registry, authHosts } = this.#options.rules;
    if (realm.origin === registry.origin) return true;
    if (realm.protocol === "https:" && knownPairs[registry.host] === realm.host) return true;
    return isListed(realm, authHosts);
  }

  async #credential(access: Access, signal: AbortSignal | undefined): Promise<Credential | null> {
    const { fetchCredentials, repository, actions, side } = access;
    let cache = this.#credentials.get(fetchCredentials);
    let work = this.#credentialWork.get(fetchCredentials);
    if (cache === undefined || work === undefined) {
      cache = new Map();
      work = new SharedWork();
      this.#credentials.set(fetchCredentials, cache);
      this.#credentialWork.set(fetchCredentials, work);
    }
    const key = accessKey(access);
    const known = cache.get(key);
    if (known !== undefined) return known;
    const ask = async (workSignal: AbortSignal) => {
      const request = { registry: this.#options.authority, repository, actions, side, signal: workSignal };
      try {
        // It is the caller's, and may not listen to the signal.
        const answer = (await unlessAborted(Promise.resolve(fetchCredentials(request)), workSignal)) ?? null;
        if (answer !== null && !isCredential(answer)) throw new TypeError("it gave no credential");
        return answer;
      } catch (error) {
        if (isLadingError(error)) throw error;
        throw new LadingError("callback-failed", "fetchCredentials failed", { cause: error });
      }
    };
    const { value } = await work.run(key, ask, { signal });
    cache.set(key, value);
    return value;
  }

  async #token(
    method: Method & { kind: "bearer" },
    credential: Credential | null,
    access: Access,
    signal: AbortSignal | undefined,
    rejected: string | null,
  ): Promise<string> {
    const { clock } = this.#options;
    const scopes = scopesOf(access);
    const sent = this.#trustedCredential(method.realm, credential);
    const key = JSON.stringify([credentialId(sent), method.realm.href, method.service, [...scopes].sort()]);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && cached.renewAt > clock.now() && `Bearer ${cached.value}` !== rejected)
      return cached.value;
    const refusal = this.#refusals.get(key);
    if (refusal !== undefined && refusal.until > clock.now()) throw refusal.error;

    const fetch = async (workSignal: AbortSignal) => {
      const { realm, service } = method;
      try {
        const token = await fetchToken(
          this.#options.tokenSend,
          { realm, service, scopes, credential: sent },
          workSignal,
        );
        const life = token.lifetime * 1000;
        this.#tokens.set(key, { value: token.value, renewAt: clock.now() + life - Math.min(renewEarly, life / 4) });
        this.#refusals.delete(key);
        return token.value;
      } catch (error) {
        throw this.#refused(key, error);
      }
    };
    return (await this.#tokenWork.run(key, fetch, { signal })).value;
  }

  /** Remembers that a token service said no, and says what can be done. */
  #refused(key: string, error: unknown): unknown {
    if (!isLadingError(error)) return error;
    this.#options.spent.add(error);
    if (error.code !== "unauthorized" && error.code !== "denied") return error;
    const hinted = error.with({ hint: this.hint() ?? `lading login ${this.#options.authority}` });
    this.#refusals.set(key, { error: hinted, until: this.#options.clock.now() + refusalLifetime });
    return hinted;
  }

  #trustedCredential(realm: URL, credential: Credential | null): Credential | null {
    if (credential === null || this.#isTrusted(realm)) return credential;
    if (!this.#warned.has(realm.host)) {
      this.#warned.add(realm.host);
      const { authority, onWarning } = this.#options;
      onWarning(
        `${authority} asks for its credentials to be sent to ${realm.host}: asked it as nobody; ${this.hint() ?? ""}`,
      );
    }
    return null;
  }
}

function accessKey({ repository, actions, side }: Access): string {
  return JSON.stringify([repository, actions, side]);
}

/** The token was good, and its owner may not do this. @see https://www.rfc-editor.org/rfc/rfc6750#section-3.1 */
function lacksScope({ headers }: Answer): boolean {
  return parseChallenges(headers["www-authenticate"]).some(
    ({ parameters }) => parameters.get("error") === "insufficient_scope",
  );
}

/** Adds what proves who asks, and answers a registry's 401 once. A 401 from another origin is never answered. */
export function auth(send: Send, authenticator: Authenticator): Send {
  return async (call) => {
    const { access, signal } = call;
    if (access === null || call.url.origin !== authenticator.origin) return await send(call);

    const first = await authenticator.authorization(access, signal, null);
    const challenged = await send(withAuthorization(call, authenticator.origin, first));
    if (challenged.status !== 401 || challenged.url.origin !== authenticator.origin) return challenged;
    // Read at once: an answer that waits holds its connection, and the token may need that very one.
    const answer = { ...challenged, body: bodyOf(await readStart(challenged, limits.errorBody)) };
    if (!authenticator.accept(parseChallenges(answer.headers["www-authenticate"]))) return answer;
    const second = await authenticator.authorization(access, signal, first);
    if (second === null || second === first) {
      authenticator.forget(access);
      return answer;
    }
    const last = await send(withAuthorization(call, authenticator.origin, second));
    if (last.status !== 401 || last.url.origin !== authenticator.origin) return last;
    if (lacksScope(last) && (await authenticator.hasCredential(access, signal))) {
      await discard(last);
      throw new LadingError("denied", `this account may not ${access.actions.join(" and ")} here`, {
        status: 401,
        hint: `ask for the right, or use another account: lading login ${call.url.host}`,
      });
    }
    authenticator.forget(access);
    const hint = authenticator.hint();
    if (hint === null) return last;
    await discard(last);
    throw new LadingError("unauthorized", `${call.url.host} wants credentials that were not sent`, {
      status: 401,
      hint,
    });
  };
}

function withAuthorization(call: Call, origin: string, authorization: string | null): Call {
  return { ...call, headers: authorized(call.headers, call.url, origin, authorization) };
}
