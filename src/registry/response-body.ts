import type { ClientRequest, IncomingMessage } from "node:http";

/**
 * The body of an answer as the stack reads it. @param failure What an error of the connection means.
 */
export function responseBody(
  incoming: IncomingMessage,
  request: ClientRequest,
  failure: (error: unknown) => unknown,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner: AsyncIterator<Uint8Array> = incoming[Symbol.asyncIterator]();
      // After an early answer the rest of the request will never be sent: the connection is of no more use.
      const end = () => {
        if (!request.writableEnded) request.destroy();
      };
      let broken: { readonly error: unknown } | null = null;
      return {
        async next() {
          if (broken !== null) throw broken.error;
          try {
            const step = await inner.next();
            if (step.done === true) end();
            return step;
          } catch (error) {
            end();
            broken = { error: failure(error) };
            // What had arrived before the cut need not come again; the iterator leaves it lying.
            const rest: Uint8Array | null = incoming.read();
            if (rest === null) throw broken.error;
            return { done: false, value: rest };
          }
        },
        async return() {
          // Also for a body that nobody has begun to read, which would hold its connection for ever.
          incoming.destroy();
          end();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
