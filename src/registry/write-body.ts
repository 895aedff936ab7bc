import type { ClientRequest } from "node:http";
import { giveBack } from "../content/lent-chunk.js";
import type { Call } from "./call.js";

/**
 * Writes a body with back-pressure. A server that answers before the end has made up its mind: writing stops
 * and the answer counts, instead of the broken pipe that would follow.
 */
export async function writeBody(request: ClientRequest, call: Call, answered: () => boolean): Promise<void> {
  const { body } = call;
  if (typeof body !== "function") {
    request.end(body ?? undefined);
    return;
  }
  // Not before there is a connection: the source may be one that others are waiting for.
  if (!(await connected(request))) return;
  for await (const chunk of body()) {
    if (answered() || request.destroyed) return;
    const done = (error?: Error | null) => {
      if (!error) giveBack(chunk);
    };
    if (!request.write(chunk, done)) await drained(request);
  }
  if (!request.destroyed) request.end();
}

/** Whether a request waits for more of its own content. */
export function isStarved(request: ClientRequest): boolean {
  return request.socket?.connecting === false && !request.writableEnded && request.writableLength === 0;
}

/** Whether a request got its socket, once that is decided. */
async function connected(request: ClientRequest): Promise<boolean> {
  if (request.socket === null && !request.destroyed) await anyOf(request, "socket", "close");
  return !request.destroyed;
}

async function drained(request: ClientRequest): Promise<void> {
  if (!request.destroyed && request.writableNeedDrain) await anyOf(request, "drain", "close", "response");
}

async function anyOf(request: ClientRequest, ...events: readonly string[]): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      for (const event of events) request.off(event, done);
      resolve();
    };
    for (const event of events) request.on(event, done);
  });
}
