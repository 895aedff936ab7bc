import { isLadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { bodyOf, discard, readStart } from "./body.js";
import type { Answer, Call, Send } from "./call.js";
import type { Clock } from "./clock.js";
import { systemCode } from "./registry-error.js";

/** The numbers of the retry policy. Times in ms. */
export const retryPolicy = {
  tries: 5,
  base: 500,
  cap: 30_000,
  /** The longest `Retry-After` that is waited for. */
  retryAfter: 60_000,
  /** From how long a wait is worth a word to whoever is waiting. */
  notable: 1_000,
  /** All waiting for one request together. */
  total: 300_000,
  /** The one wait for a 429 that names no time. */
  rateLimit: 10_000,
  /** Wait before a cut download is reopened. */
  reopen: 1_000,
  /** Bytes that count as progress, after which all tries are there again. */
  progress: 1024 * 1024,
  /** Recoveries of one upload without progress. */
  recoveries: 10,
} as const;

const transientStatuses: ReadonlySet<number> = new Set([408, 499, 500, 502, 503, 504, 522]);
/** Answers of a storage host to a signed URL that has gone stale: the registry has a fresh one. */
const staleStatuses: ReadonlySet<number> = new Set([400, 401, 403, 410]);

/** Exponential, with full jitter. @param attempt 0 for the first repetition */
export function backOff(attempt: number, random: () => number): number {
  return Math.min(retryPolicy.base * 2 ** attempt, retryPolicy.cap) * random();
}

/**
 * `Retry-After` in ms from now: whole seconds or an HTTP date; null for anything else.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 */
export function retryAfter(value: string | undefined, now: number): number | null {
  if (value === undefined) return null;
  if (/^\d{1,10}$/.test(value)) return Number(value) * 1000;
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} /.test(value)) return null;
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

/** Until when a host is left alone: shared by all requests of a client, so that eight layers wait as one. */
export class HostPauses {
  readonly #until = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns Whether this begins a pause, or only comes into one. */
  pause(host: string, milliseconds: number): boolean {
    const [before, now] = [this.#until.get(host) ?? 0, this.#clock.now()];
    this.#until.set(host, Math.max(before, now + milliseconds));
    return before <= now;
  }

  async wait(host: string, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      const left = (this.#until.get(host) ?? 0) - this.#clock.now();
      if (left <= 0) return;
      await this.#clock.sleep(left, signal);
    }
  }
}

/** Trouble on the way that may be gone the next time. A name that does not exist and a failed TLS handshake stay. */
export function isTransient(error: unknown): boolean {
  return isLadingError(error) && error.code === "unreachable" && systemCode(error.cause) !== "ENOTFOUND";
}

export interface RetryOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly pauses: HostPauses;
  /** Is told of waits that a person would notice. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** Repeats what may be repeated, by {@link retryPolicy}. The last answer or error is the caller's. */
export function retry(send: Send, { clock, random, pauses, onWarning }: RetryOptions): Send {
  return async (call) => {
    const { host } = call.url;
    let tries = 0;
    let waited = 0;
    let rateLimited = false;
    let refreshed = false;

    for (;;) {
      await pauses.wait(host, call.signal);
      const { answer, error } = await attempt(send, call);
      tries += 1;
      if (answer === null && !isTransient(error)) throw error;
      if (call.retry === false) return given(answer, error);

      let wait: number;
      if (answer !== null && answer.url.origin !== call.url.origin && staleStatuses.has(answer.status)) {
        if (refreshed) return answer;
        refreshed = true;
        wait = 0;
      } else if (answer?.status === 429) {
        const { spare, quota } = await peek(answer);
        const named = quota ? null : retryAfter(spare.headers["retry-after"], clock.now());
        if (named !== null && (named > retryPolicy.retryAfter || waited + named > retryPolicy.total)) return spare;
        if (named === null && rateLimited) return spare;
        rateLimited = true;
        wait = named === null ? retryPolicy.rateLimit : named * (1 + random() / 10);
      } else if (answer === null || transientStatuses.has(answer.status)) {
        if (tries === retryPolicy.tries) return given(answer, error);
        const named = retryAfter(answer?.headers["retry-after"], clock.now()) ?? 0;
        wait = Math.max(backOff(tries - 1, random), Math.min(named, retryPolicy.retryAfter));
      } else {
        return answer;
      }

      if (answer !== null) await discard(answer);
      waited += wait;
      if (pauses.pause(host, wait) && wait >= retryPolicy.notable) {
        const why = answer === null ? "can't be reached" : `answered ${answer.status}`;
        onWarning?.(`${host} ${why}: trying again in ${Math.ceil(wait / 1000)} s`);
      }
      if (call.confirm !== undefined) {
        await pauses.wait(host, call.signal);
        const confirmed = await call.confirm();
        if (confirmed !== null) return confirmed;
      }
    }
  };
}

async function attempt(send: Send, call: Call): Promise<{ answer: Answer | null; error: unknown }> {
  try {
    return { answer: await send(call), error: null };
  } catch (error) {
    return { answer: null, error };
  }
}

function given(answer: Answer | null, error: unknown): Answer {
  if (answer === null) throw error;
  return answer;
}

/** Reads a refusal's text: a spent quota does not come back by waiting, whatever `Retry-After` says. */
async function peek(answer: Answer): Promise<{ spare: Answer; quota: boolean }> {
  const text = await readStart(answer, limits.errorBody);
  return {
    spare: { ...answer, body: bodyOf(text) },
    quota: /pull rate limit/i.test(Buffer.from(text).toString("latin1")),
  };
}
