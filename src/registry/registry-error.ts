import { type ErrorCode, isLadingError, LadingError, type LadingErrorDetails } from "../errors.js";
import type { RegistryErrorEntry } from "../oci/error-codes.js";
import { limits } from "../oci/limits.js";
import { readStart } from "./body.js";
import type { Answer, Call } from "./call.js";
import { type RateBudget, rateBudgetOf, rateBudgetText } from "./rate-budget.js";
import { retryAfter, waitText } from "./retry-after.js";

/** Query values that are no secrets; all others of a URL are left out of messages and logs. */
const openParameters: ReadonlySet<string> = new Set([
  "artifactType",
  "digest",
  "from",
  "last",
  "mount",
  "n",
  "scope",
  "service",
]);

/** A URL as people may see it: without user, fragment and the values of unknown query parameters. */
export function redactedUrl(url: URL): string {
  const query = [...url.searchParams].map(([name, value]) => `${name}=${openParameters.has(name) ? value : "***"}`);
  return safeText(`${url.origin}${url.pathname}${query.length === 0 ? "" : `?${query.join("&")}`}`);
}

/** A stranger's text for people: control and direction characters become visible escapes, the length is bounded. */
export function safeText(text: string): string {
  return text
    .slice(0, limits.errorText)
    .replace(
      /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}

/**
 * The entries of an error body.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
 */
function parseEntries(bytes: Uint8Array): readonly RegistryErrorEntry[] {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const errors = typeof value === "object" && value !== null && "errors" in value ? value.errors : null;
    if (!Array.isArray(errors)) return [];
    return errors.flatMap((entry: unknown) => {
      if (typeof entry !== "object" || entry === null) return [];
      const { code, message, detail } = entry as Record<string, unknown>;
      if (typeof code !== "string") return [];
      return [{ code, message: typeof message === "string" ? message : "", detail }];
    });
  } catch {
    return [];
  }
}

/** What a registry answered, as the cause of the error that is thrown for it. */
export class RegistryAnswer extends Error {
  override readonly name = "RegistryAnswer";
  readonly method: string;
  /** Redacted. */
  readonly url: string;
  readonly status: number;
  readonly errors: readonly RegistryErrorEntry[];
  /** Its `Retry-After`, as it stands there. */
  readonly retryAfter: string | undefined;

  constructor(call: Pick<Call, "method">, answer: Answer, errors: readonly RegistryErrorEntry[]) {
    const url = redactedUrl(answer.url);
    super(`${call.method} ${url}: ${answer.status}`);
    this.method = call.method;
    this.url = url;
    this.status = answer.status;
    this.errors = errors;
    this.retryAfter = answer.headers["retry-after"];
  }
}

const codesByEntry: Readonly<Record<string, ErrorCode>> = {
  UNSUPPORTED: "unsupported",
  DIGEST_INVALID: "digest-mismatch",
  SIZE_INVALID: "size-mismatch",
  MANIFEST_INVALID: "manifest-invalid",
  MANIFEST_UNVERIFIED: "manifest-invalid",
  MANIFEST_BLOB_UNKNOWN: "manifest-invalid",
  NAME_INVALID: "bad-reference",
  TAG_INVALID: "bad-reference",
  TOOMANYREQUESTS: "rate-limited",
  DENIED: "denied",
  UNAUTHORIZED: "unauthorized",
  NAME_UNKNOWN: "not-found",
  MANIFEST_UNKNOWN: "not-found",
  BLOB_UNKNOWN: "not-found",
  BLOB_UPLOAD_UNKNOWN: "not-found",
};

const codesByStatus: Readonly<Record<number, ErrorCode>> = {
  401: "unauthorized",
  402: "denied",
  403: "denied",
  404: "not-found",
  405: "unsupported",
  408: "unreachable",
  409: "conflict",
  412: "conflict",
  413: "limit-exceeded",
  415: "unsupported",
  416: "size-mismatch",
  423: "conflict",
  429: "rate-limited",
  451: "denied",
  499: "unreachable",
  501: "unsupported",
  507: "no-space",
};

/** Says, as our own registry does, that it is not who asks but how much is there already. */
function isQuota({ detail }: RegistryErrorEntry): boolean {
  return typeof detail === "object" && detail !== null && "limit" in detail && detail.limit === "quota";
}

function codeOf(status: number, entries: readonly RegistryErrorEntry[]): ErrorCode {
  const byStatus = codesByStatus[status];
  if (status === 403 && entries.some(isQuota)) return "no-space";
  // An UNSUPPORTED entry explains a 4xx better than its number does; else the number is the firmer ground.
  if (status < 500 && entries.some(({ code }) => code === "UNSUPPORTED")) return "unsupported";
  if (byStatus !== undefined) return byStatus;
  if (status >= 500) return "unreachable";
  for (const { code } of entries) {
    // Own names alone: the registry chooses the word, and `constructor` is one too.
    const byEntry = Object.hasOwn(codesByEntry, code) ? codesByEntry[code] : undefined;
    if (byEntry !== undefined) return byEntry;
  }
  return "unsupported";
}

/** @param wait How long the host wants to be left alone, in ms; null where it does not say. */
function hintOf(code: ErrorCode, host: string, wait: number | null): string | null {
  switch (code) {
    case "unauthorized":
      return `lading login ${host}`;
    case "denied":
      return `check that the account used for ${host} may do this (lading doctor shows where it comes from)`;
    case "rate-limited":
      return `try again ${wait === null ? "later" : `in ${waitText(wait)}`}, or log in for a larger allowance: lading login ${host}`;
    case "not-found":
      return "`lading tags` lists what the repository has, `lading ls` the repositories";
    case "limit-exceeded":
      return `${host}, or a proxy before it, takes nothing of this size: whoever runs it can allow more`;
    case "no-space":
      return `free space where ${host} keeps its content, or have its operator allow more`;
    case "unreachable":
      return `try again ${wait === null ? "later" : `in ${waitText(wait)}`}; lading doctor checks whether ${host} answers`;
    default:
      return null;
  }
}

/**
 * The error for an answer that is none of those that were expected. Reads what the body says, up to a limit.
 * @param doing What failed, as the beginning of a sentence: `reading the manifest v1`.
 * @param host The registry as people know it.
 * @param details `missing`: the message where nothing more is to be said than that something is not there.
 *   `now`: ms since the epoch, for a `Retry-After` that is a date. `budget`: what the host said of it last.
 */
export async function registryError(
  call: Pick<Call, "method">,
  answer: Answer,
  doing: string,
  host: string,
  details: LadingErrorDetails & {
    readonly missing?: string | undefined;
    readonly now?: number;
    readonly budget?: RateBudget | null;
  } = {},
): Promise<LadingError> {
  const entries = parseEntries(await readStart(answer, limits.errorBody));
  const code = codeOf(answer.status, entries);
  const said = entries.map((entry) => [entry.code, entry.message].filter((part) => part !== "").join(": ")).join("; ");
  const { missing, now = Date.now(), budget: last = null, ...rest } = details;
  const wait = answer.status === 429 || answer.status >= 500 ? retryAfter(answer.headers["retry-after"], now) : null;
  const budget = answer.status === 429 ? (rateBudgetOf(answer.headers) ?? last) : null;
  const message = [
    `${doing} failed: ${host} answered ${answer.status}`,
    ...(said === "" ? [] : [safeText(said)]),
    ...(wait === null ? [] : [`it says to try again in ${waitText(wait)}`]),
    ...(budget === null ? [] : [rateBudgetText(budget)]),
  ].join(", ");
  return new LadingError(code, code === "not-found" ? (missing ?? message) : message, {
    hint: hintOf(code, host, wait),
    ...rest,
    status: answer.status,
    cause: new RegistryAnswer(call, answer, entries),
  });
}

/** Errors of node:tls and OpenSSL, all of which mean that nobody vouches for the other side. */
const tlsError =
  /^(ERR_TLS_|ERR_SSL_|CERT_|EPROTO$|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/;

/** What can be done about a certificate: another authority does not help one that is out of date, or is for other names. */
function certificateHint(code: string, host: string): string {
  const unseen = `trust it unseen with --insecure ${host}`;
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return `whoever runs ${host} has to renew its certificate; check this machine's clock, or ${unseen}`;
    case "CERT_NOT_YET_VALID":
      return `check this machine's clock, or ${unseen}`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `use a name that the certificate is for, or ${unseen}`;
    default:
      return `name its certificate authority with --ca-file FILE, or ${unseen}`;
  }
}

/** The code of a system error, also of the bundle that node gives where it tried several addresses. */
export function systemCode(error: unknown): string | null {
  if (typeof error !== "object" || error === null) return null;
  if ("code" in error && typeof error.code === "string") return error.code;
  return error instanceof AggregateError ? systemCode(error.errors[0]) : null;
}

/**
 * The error for an exchange that came to no answer.
 * @param proxy The one on the way: then it is that one which can't be reached.
 */
export function networkError(
  error: unknown,
  url: URL,
  details: LadingErrorDetails = {},
  proxy: URL | null = null,
): LadingError {
  if (isLadingError(error)) return error;
  const code = systemCode(error);
  const reason = safeText(error instanceof Error && error.message !== "" ? error.message : (code ?? String(error)));
  if (code === "HPE_HEADER_OVERFLOW") {
    // Without its cause, which holds the answer as it came.
    const message = `${url.host} answers with more than ${limits.responseHeaders} bytes of headers`;
    return new LadingError("limit-exceeded", message, { ...details, limit: "responseHeaders" });
  }
  // What OpenSSL says of an answer in plain http.
  if (code === "EPROTO" && /wrong version number|packet length too long/.test(reason)) {
    return new LadingError("tls", `${url.host} does not speak TLS`, {
      hint: `if it is meant to be reached by plain http, say so with --insecure ${url.host}`,
      ...details,
      cause: error,
    });
  }
  if (code !== null && tlsError.test(code)) {
    return new LadingError("tls", `the TLS connection to ${url.host} failed: ${reason}`, {
      hint: certificateHint(code, url.host),
      ...details,
      cause: error,
    });
  }
  const meaning: Readonly<Record<string, string>> = {
    ENOTFOUND: "its name is not known",
    EAI_AGAIN: "its name could not be looked up",
    ECONNREFUSED: "nothing listens there",
    ETIMEDOUT: "it did not answer in time",
  };
  const unreached = meaning[code ?? ""];
  if (proxy !== null && unreached !== undefined) {
    const message = `${url.host} could not be reached through the proxy ${proxy.host}: ${unreached}`;
    const hint = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and whether the proxy runs";
    return new LadingError("unreachable", message, { hint, ...details, cause: error });
  }
  const broken = code === "ECONNRESET" || code === "EPIPE";
  const what = broken ? "broke the connection off" : `could not be reached: ${unreached ?? reason}`;
  return new LadingError("unreachable", `${url.host} ${what}`, {
    hint: `check the name, the network and the proxy; lading doctor checks whether ${url.host} answers`,
    ...details,
    cause: error,
  });
}
