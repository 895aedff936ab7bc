/** The closed list of error codes. Programs and tests decide by these, never by message text. */
export const errorCodes = [
  "internal",
  "callback-failed",
  "closed",
  "usage",
  "bad-reference",
  "digest-mismatch",
  "size-mismatch",
  "manifest-invalid",
  "archive-invalid",
  "limit-exceeded",
  "unsafe-url",
  "tls",
  "unreachable",
  "unsupported",
  "not-found",
  "conflict",
  "io",
  "no-space",
  "rate-limited",
  "engine-unavailable",
  "engine-failed",
  "unauthorized",
  "denied",
  "config-invalid",
  "timeout",
  "cancelled",
] as const;

/** One of the closed list of codes: what a program decides by. */
export type ErrorCode = (typeof errorCodes)[number];

/** Which end of a transfer failed: where the content comes from, or where it goes. */
export type Side = "source" | "destination";

/** What an error says beside its code and message; what is left out is null, or follows from the code. */
export interface LadingErrorDetails {
  readonly side?: Side | null | undefined;
  /** What was being done, as the SDK and the CLI name it: `push`, `pull`, `tags`, … */
  readonly operation?: string | null | undefined;
  /** The image as the user named it. */
  readonly image?: string | null | undefined;
  readonly digest?: string | null | undefined;
  /** The HTTP status that a registry or an engine answered with. */
  readonly status?: number | null | undefined;
  /** The bound of Lading's that was exceeded, by its name in the list of limits: `manifest`, `layers`, … */
  readonly limit?: string | null | undefined;
  /** What the user can do about it, in one sentence. Default: by code, where there is something to be done. */
  readonly hint?: string | null | undefined;
  /** Whether the same call may succeed later. Default: by code. */
  readonly retryable?: boolean | undefined;
  readonly cause?: unknown;
}

/** The JSON form of an error, as the CLI prints it (without `exit`, which the CLI adds). */
export interface LadingErrorJson {
  readonly code: ErrorCode;
  readonly side: Side | null;
  readonly operation: string | null;
  readonly image: string | null;
  readonly digest: string | null;
  readonly status: number | null;
  readonly limit: string | null;
  readonly message: string;
  readonly hint: string | null;
  readonly retryable: boolean;
}

const brand = Symbol.for("lading.error");
const retryableCodes: ReadonlySet<ErrorCode> = new Set(["unreachable", "rate-limited", "timeout"]);

/** What can be done about an error of which nothing better is known. None for those that are nobody's to mend. */
const generalHints: Readonly<Partial<Record<ErrorCode, string>>> = {
  usage: "`lading VERB --help` shows the flags and examples of a verb",
  "bad-reference": "a local image reads NAME[:TAG], a remote one image:NAME[:TAG] or HOST/PATH[:TAG]",
  "digest-mismatch": "try again; if it stays so, the content is damaged where it comes from, or was changed on the way",
  "size-mismatch": "try again; if it stays so, the content is damaged where it comes from, or was changed on the way",
  "manifest-invalid": "the image itself is damaged or was made wrongly: build or push it again",
  "archive-invalid": "make or fetch the archive again",
  "limit-exceeded": "no honest image needs so much: look at where it comes from",
  "unsafe-url": "if the address can be trusted, name it in the configuration (insecure, authHosts)",
  tls: "name the certificate authority with --ca-file FILE, or trust the host unseen with --insecure HOST[:PORT]",
  unreachable: "check the name, the network and the proxy, or try again later",
  unsupported: "the other side can't do this: `lading doctor` shows what is there, and in which version",
  "not-found": "`lading images` lists the local images, `lading ls` and `lading tags` those of a registry",
  conflict: "look at what is there first",
  io: "check that the path is there, and that this user may read and write it",
  "no-space": "free disk space, or choose another folder",
  "rate-limited": "wait a while, then try again",
  "engine-unavailable": "start the engine, or work without one: --engine store",
  "engine-failed": "the engine's own log may say more; `lading doctor` checks it",
  unauthorized: "lading login HOST",
  denied: "check that this account may do this; `lading doctor` shows where its credentials come from",
  "config-invalid": "`lading config show` prints the configuration and where it comes from",
  timeout: "allow more time with --timeout, or run it again: it goes on with what is complete",
};

/** Characters of a message: what it quotes may come from a stranger, and be of any length. */
const longestMessage = 4096;

function shortened(message: string): string {
  return message.length > longestMessage ? `${message.slice(0, longestMessage - 1)}…` : message;
}

/** Every error that leaves the SDK. The message says what was wrong, on which side, and what to do. */
export class LadingError extends Error {
  override readonly name = "LadingError";
  readonly code: ErrorCode;
  readonly side: Side | null;
  readonly operation: string | null;
  readonly image: string | null;
  readonly digest: string | null;
  readonly status: number | null;
  /**
   * Of `limit-exceeded`: which of Lading's own limits it was, by its name in `src/oci/limits.ts` (`manifest`, `indexDepth`,
   * `unpackedRatio`, …). Null where the limit is somebody else's, as that of a registry which answers 413, and for all other codes.
   */
  readonly limit: string | null;
  readonly hint: string | null;
  readonly retryable: boolean;
  /** What was said about this very error; an outer layer may still know better than the general hint. */
  readonly #hint: string | null;

  constructor(code: ErrorCode, message: string, details: LadingErrorDetails = {}) {
    super(shortened(message), details.cause === undefined ? undefined : { cause: details.cause });
    Object.defineProperty(this, brand, { value: true });
    this.code = code;
    this.side = details.side ?? null;
    this.operation = details.operation ?? null;
    this.image = details.image ?? null;
    this.digest = details.digest ?? null;
    this.status = details.status ?? null;
    this.limit = details.limit ?? null;
    this.#hint = details.hint ?? null;
    this.hint = this.#hint ?? generalHints[code] ?? null;
    this.retryable = details.retryable ?? retryableCodes.has(code);
  }

  /** The same error with what an outer layer knows and an inner one could not: fields already set are kept. */
  with(details: Omit<LadingErrorDetails, "cause" | "retryable">): LadingError {
    const next = new LadingError(this.code, this.message, {
      side: this.side ?? details.side,
      operation: this.operation ?? details.operation,
      image: this.image ?? details.image,
      digest: this.digest ?? details.digest,
      status: this.status ?? details.status,
      limit: this.limit ?? details.limit,
      hint: this.#hint ?? details.hint,
      retryable: this.retryable,
      cause: this.cause,
    });
    if (this.stack !== undefined) next.stack = this.stack;
    return next;
  }

  toJSON(): LadingErrorJson {
    const { code, side, operation, image, digest, status, limit, message, hint, retryable } = this;
    return { code, side, operation, image, digest, status, limit, message, hint, retryable };
  }
}

/** True for a LadingError of this or any other copy of the package. */
export function isLadingError(value: unknown): value is LadingError {
  return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[brand] === true;
}

/**
 * The error for a signal that has fired: `timeout` where its reason is a TimeoutError, else `cancelled`.
 * `cause` is the signal's reason itself.
 */
export function abortError(signal: AbortSignal, details: LadingErrorDetails = {}): LadingError {
  const reason: unknown = signal.reason;
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? new LadingError("timeout", "the time allowed is over", { ...details, cause: reason })
    : new LadingError("cancelled", "cancelled by the caller", { ...details, cause: reason });
}

/** Throws the error for a signal that has fired. */
export function throwIfAborted(signal: AbortSignal | null | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

/** Errors of the operating system that mean a full disk or quota. */
const spaceErrors: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

/** A failed file operation as a LadingError: `no-space` for a full disk, else `io`. Errors of ours pass as they are. */
export function ioError(error: unknown, doing: string, details: LadingErrorDetails = {}): LadingError {
  if (isLadingError(error)) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const reason = error instanceof Error ? error.message : String(error);
  if (code !== undefined && spaceErrors.has(code)) {
    return new LadingError("no-space", `no space left while ${doing}: ${reason}`, {
      hint: "free disk space, or choose another folder with --store",
      ...details,
      cause: error,
    });
  }
  return new LadingError("io", `${doing} failed: ${reason}`, { ...details, cause: error });
}
