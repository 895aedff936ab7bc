import { once } from "node:events";
import { type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";

/** What happens to one request on its way. */
export interface Meddling {
  /** Done before anything is passed on. */
  readonly before?: () => Promise<void>;
  /** Pass this many bytes of the content on, then break both connections. */
  readonly cutAfter?: number;
  /** Let the server do it, and break the connection instead of passing its answer on. */
  readonly dropAnswer?: boolean;
  /** Let the server do it, and pass another status on. */
  readonly status?: number;
  /** Ask the server nothing: take this many bytes of the content, then answer. */
  readonly instead?: {
    readonly after?: number;
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  };
}

export interface PassedRequest {
  readonly method: string;
  /** `/v2/…?…` */
  readonly target: string;
  readonly headers: IncomingMessage["headers"];
  /** Bytes of content that came in. */
  received: number;
}

export interface AnswerProxy {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly requests: readonly PassedRequest[];
  close(): Promise<void>;
}

async function drained(request: ClientRequest): Promise<void> {
  const settled = new AbortController();
  const options = { signal: settled.signal };
  await Promise.race([once(request, "drain", options), once(request, "close", options)]).finally(() => settled.abort());
}

/** A proxy in front of a registry that understands requests: it loses answers, changes them, or breaks one in its middle. */
export async function startAnswerProxy(
  upstream: string,
  meddle: (request: PassedRequest) => Meddling | null,
): Promise<AnswerProxy> {
  const requests: PassedRequest[] = [];
  const { hostname, port } = new URL(upstream);
  const server = createServer((incoming, response) => {
    const passed = {
      method: incoming.method ?? "GET",
      target: incoming.url ?? "/",
      headers: incoming.headers,
      received: 0,
    };
    requests.push(passed);
    incoming.on("error", () => {});
    response.on("error", () => {});
    exchange(incoming, response, passed).catch(() => incoming.socket.destroy());
  });

  async function exchange(incoming: IncomingMessage, response: ServerResponse, passed: PassedRequest): Promise<void> {
    const meddling = meddle(passed) ?? {};
    await meddling.before?.();
    if (meddling.instead !== undefined) {
      const { after = 0, status, headers = {}, body = "" } = meddling.instead;
      if (after > 0) {
        for await (const chunk of incoming as AsyncIterable<Buffer>) {
          passed.received += chunk.length;
          if (passed.received >= after) break;
        }
      }
      response.writeHead(status, {
        "content-length": String(Buffer.byteLength(body)),
        connection: "close",
        ...headers,
      });
      response.end(body);
      return;
    }
    const { method, target, headers } = passed;
    const outgoing = request({ hostname, port, method, path: target, headers, agent: false });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once("response", resolve);
      outgoing.once("error", reject);
    });
    answered.catch(() => {});
    // Who gives up is given up on.
    response.once("close", () => outgoing.destroy());
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      const room = (meddling.cutAfter ?? Number.POSITIVE_INFINITY) - passed.received;
      const part = chunk.subarray(0, Math.min(chunk.length, room));
      passed.received += part.length;
      if (!outgoing.write(part)) await drained(outgoing);
      if (part.length < chunk.length) {
        // What was written shall arrive.
        await new Promise((resolve) => setTimeout(resolve, 100));
        outgoing.destroy();
        incoming.socket.destroy();
        return;
      }
    }
    outgoing.end();
    const answer = await answered;
    if (meddling.dropAnswer === true) {
      answer.resume();
      await new Promise((resolve) => answer.once("close", resolve));
      incoming.socket.destroy();
      return;
    }
    response.writeHead(meddling.status ?? answer.statusCode ?? 502, answer.headers);
    for await (const chunk of answer as AsyncIterable<Buffer>) response.write(chunk);
    response.end();
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
