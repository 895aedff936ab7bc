import type { WireHandler } from "../oci/wire.js";

async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncIterable<Uint8Array> {
  const reader = body.getReader();
  let ended = false;
  try {
    while (true) {
      const { done, value } = await reader.read();
      ended = done;
      if (done) return;
      yield value;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined);
    reader.releaseLock();
  }
}

function streamOf(body: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}

const withoutBody: ReadonlySet<number> = new Set([204, 304]);

/** A handler as the web sees it. Nothing here is touched before the first call: the globals cost start-up time. */
export async function handleFetch(handle: WireHandler, request: Request): Promise<Response> {
  const response = await handle({
    method: request.method,
    url: request.url,
    headers: Object.fromEntries(request.headers),
    body: request.body === null ? null : chunksOf(request.body),
    signal: request.signal,
  });
  const empty = request.method === "HEAD" || withoutBody.has(response.status);
  return new Response(empty ? null : streamOf(response.body), { status: response.status, headers: response.headers });
}
