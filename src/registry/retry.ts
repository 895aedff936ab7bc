import { isLadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { bodyOf, discard, readStart } from "./body.js";
import type { Answer, Call, Send } from "./call.js";
import type { Clock } from "./clock.js";
import type { HostPauses } from "./host-pauses.js";
import { systemCode } from "./registry-error.js";
import { retryAfter, waitText } from "./retry-after.js";

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

/** Trouble on the way that may be gone the next time. A name that does not exist and a failed TLS handshake stay. */
export function isTransient(error: unknown): boolean {
  return isLadingError(error) && error.code === "unreachable" && systemCode(error.cause) !== "ENOTFOUND";
}

/** What a 429 says of when to come back. */
export interface Refusal {
  /** Its `Retry-After`. */
  readonly retryAfter: string | undefined;
  readonly text: string;
}

/** How long one piece of work puts up with being told to wait. */
export class Patience {
  readonly #clock: Clock;
  readonly #random: () => number;
  #waited = 0;
  #blind = false;

  constructor({ clock, random }: Pick<RetryOptions, "clock" | "random">) {
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * The wait, in ms, that a 429 calls for; null where waiting is of no use, or takes too long. A spent quota does not come
   * back by waiting for so short a time as `Retry-After` may say.
   * @param tries Requests so far.
   */
  afterRefusal({ retryAfter: value, text }: Refusal, tries: number): number | null {
    const asked = retryAfter(value, this.#clock.now());
    if (asked !== null && asked > retryPolicy.retryAfter) return null;
    const named = /pull rate limit/i.test(text) ? null : asked;
    if (named === null) {
      if (this.#blind) return null;
      this.#blind = true;
      return this.#spend(retryPolicy.rateLimit);
    }
    return this.#spend(named === 0 ? backOff(tries - 1, this.#random) : named * (1 + this.#random() / 10));
  }

  /**
   * The wait, in ms, after trouble that may pass; null where the server asks for too long a one, or all tries are used up.
   * @param most Tries.
   */
  afterTrouble(value: string | undefined, tries: number, most: number = retryPolicy.tries): number | null {
    if (tries >= most) return null;
    const named = retryAfter(value, this.#clock.now()) ?? 0;
    if (named > retryPolicy.retryAfter) return null;
    return this.#spend(Math.max(backOff(tries - 1, this.#random), named));
  }

  #spend(wait: number): number | null {
    if (this.#waited + wait > retryPolicy.total) return null;
    this.#waited += wait;
    return wait;
  }
}

export interface RetryOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly pauses: HostPauses;
  /** Errors of requests beneath this one that were tried often enough: a token service that is down is not asked 5 x 5 times. */
  readonly spent?: WeakSet<object> | undefined;
  /** Is told of waits that a person would notice. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** Repeats what may be repeated, by {@link retryPolicy}. The last answer or error is the caller's. */
export function retry(send: Send, options: RetryOptions): Send {
  const { pauses, spent, onWarning } = options;
  return async (call) => {
    const { host } = call.url;
    const patience = new Patience(options);
    let tries = 0;
    let refreshed = false;

    for (;;) {
      await pauses.wait(host, call.signal);
      let { answer, error } = await attempt(send, call);
      tries += 1;
      if (answer === null && (!isTransient(error) || spent?.has(error as object))) throw error;
      if (call.retry === false) return given(answer, error);

      let wait: number | null;
      let lost = true;
      if (answer !== null && answer.url.origin !== call.url.origin && staleStatuses.has(answer.status)) {
        if (refreshed) return answer;
        refreshed = true;
        wait = 0;
      } else if (answer?.status === 429) {
        const text = await readStart(answer, limits.errorBody);
        answer = { ...answer, body: bodyOf(text) };
        const said = { retryAfter: answer.headers["retry-after"], text: Buffer.from(text).toString("latin1") };
        wait = patience.afterRefusal(said, tries);
        lost = false;
      } else if (answer === null || transientStatuses.has(answer.status)) {
        wait = patience.afterTrouble(answer?.headers["retry-after"], tries);
      } else {
        return answer;
      }
      if (wait === null) return given(answer, error);

      if (answer !== null) await discard(answer);
      if (pauses.pause(host, wait) && wait >= retryPolicy.notable) {
        const why = answer === null ? "can't be reached" : `answered ${answer.status}`;
        onWarning?.(`${host} ${why}: trying again in ${waitText(wait)}`);
      }
      if (lost && call.confirm !== undefined) {
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
