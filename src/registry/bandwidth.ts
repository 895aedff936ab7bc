import type { Answer, Call, Send } from "./call.js";
import type { Clock } from "./clock.js";

/** So much may pass at once, in seconds of the rate: small requests do not wait, and nobody sees bursts. */
const burst = 0.25;
/** Pieces are as large as the rate allows in this time, in seconds. */
const pace = 0.1;
/** The least piece, in bytes. */
const leastPiece = 1024;

/**
 * How many bytes a second pass, in both directions together: one for all transfers of a client, first come first served. A
 * bucket with a hole: what is poured in beyond its size waits until the rest has run out.
 */
export class Bandwidth {
  /** Bytes. */
  readonly piece: number;
  readonly #rate: number;
  readonly #clock: Clock;
  #level = 0;
  #seen: number;

  /** @param rate Bytes per second. */
  constructor(rate: number, clock: Clock) {
    this.#rate = rate;
    this.#clock = clock;
    this.#seen = clock.now();
    this.piece = Math.max(leastPiece, Math.floor(rate * pace));
  }

  /** Waits until so many bytes may pass. @throws LadingError `cancelled`, `timeout` */
  async take(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const now = this.#clock.now();
    // A clock that was set back runs nothing out, and holds nothing up.
    const passed = Math.max(0, now - this.#seen) / 1000;
    this.#seen = now;
    this.#level = Math.max(0, this.#level - passed * this.#rate) + bytes;
    const over = this.#level - burst * this.#rate;
    if (over > 0) await this.#clock.sleep((over / this.#rate) * 1000, signal);
  }
}

/** Holds what is sent and received to a rate. Heads are not counted. */
export function limitRate(send: Send, bandwidth: Bandwidth): Send {
  return async (call: Call): Promise<Answer> => {
    const { body, signal } = call;
    const streams = typeof body === "function";
    if (!streams && body) await bandwidth.take(body.length, signal);
    // Large buffers would come in bursts.
    const paced = { ...call, bulk: false };
    const answer = await send(streams ? { ...paced, body: () => pacedStream(body(), bandwidth, signal) } : paced);
    return { ...answer, body: { [Symbol.asyncIterator]: () => pacedBody(answer.body, bandwidth, signal) } };
  };
}

/** Pieces that pass in their turn, so that a slow line is not given a megabyte at once. */
async function* pacedStream(
  source: AsyncIterable<Uint8Array>,
  bandwidth: Bandwidth,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    if (chunk.length <= bandwidth.piece) {
      await bandwidth.take(chunk.length, signal);
      yield chunk;
      continue;
    }
    for (let at = 0; at < chunk.length; at += bandwidth.piece) {
      const part = chunk.subarray(at, at + bandwidth.piece);
      await bandwidth.take(part.length, signal);
      yield part;
    }
  }
}

/** The same for an answer, whose iterator must be able to let go before it was begun. */
function pacedBody(
  source: AsyncIterable<Uint8Array>,
  bandwidth: Bandwidth,
  signal: AbortSignal | undefined,
): AsyncIterator<Uint8Array> {
  const inner = source[Symbol.asyncIterator]();
  return {
    async next() {
      const step = await inner.next();
      if (step.done !== true) await bandwidth.take(step.value.length, signal);
      return step;
    },
    async return() {
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
}
