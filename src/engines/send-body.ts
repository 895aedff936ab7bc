import type { ClientRequest, IncomingMessage } from "node:http";
import { giveBack } from "../content/lent-chunk.js";

/**
 * Writes a body as fast as the engine takes it. An engine that refuses answers before the end: then the rest is not
 * sent and its answer counts. Gives the body's own failure, which counts for more than what the engine makes of it.
 */
export async function sendBody(
  outgoing: ClientRequest,
  body: AsyncIterable<Uint8Array>,
  answer: Promise<IncomingMessage>,
): Promise<{ readonly error: unknown } | null> {
  let stopped = false;
  answer.then(
    (response) => {
      stopped ||= (response.statusCode ?? 0) >= 300;
    },
    () => {
      stopped = true;
    },
  );
  try {
    for await (const chunk of body) {
      if (stopped || outgoing.destroyed) return null;
      const done = (error?: Error | null): void => {
        if (!error) giveBack(chunk);
      };
      if (!outgoing.write(chunk, done)) await drained(outgoing);
    }
  } catch (error) {
    return { error };
  }
  outgoing.end();
  return null;
}

function drained(outgoing: ClientRequest): Promise<void> {
  if (outgoing.destroyed || !outgoing.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      for (const event of ["drain", "close", "error", "response"]) outgoing.off(event, settle);
      resolve();
    };
    for (const event of ["drain", "close", "error", "response"]) outgoing.on(event, settle);
  });
}
