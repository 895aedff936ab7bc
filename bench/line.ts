import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface LineOptions {
  /** From request to answer, in ms: half of it in each direction. A connection takes one more to come up. @default 0 */
  readonly roundTrip?: number;
  /** Bytes a second in each direction, shared by all connections. @default without a limit */
  readonly bytesPerSecond?: number;
}

/** A line to a server: what connects to its port comes out there, later. */
export interface Line {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Bytes that went to the server and came from it. */
  readonly bytes: { readonly up: number; readonly down: number };
  /** Requests that were begun, as far as they are plain HTTP. */
  readonly requests: number;
  close(): Promise<void>;
}

/** What a router would keep: about the line's own content, and never less than a chunk. */
const bufferLimit = 512 * 1024;
const requestStart = /^(?:GET|HEAD|PUT|POST|PATCH|DELETE) \//;

/** Whether it drains or closes: whoever waits for the other is not left behind. */
async function drained(socket: Socket): Promise<void> {
  const decided = new AbortController();
  const { signal } = decided;
  await Promise.race([once(socket, "drain", { signal }), once(socket, "close", { signal })]).catch(() => undefined);
  decided.abort();
}

/** Opens a line to `host:port`. The kernel here has no `netem`; this is a proxy on loopback that waits. */
export async function openLine(target: string, { roundTrip = 0, bytesPerSecond }: LineOptions): Promise<Line> {
  const [targetHost = "", targetPort = ""] = target.split(":");
  const bytes = { up: 0, down: 0 };
  // When the line is free again, per direction.
  const free = { up: 0, down: 0 };
  let requests = 0;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  };

  const pass = (from: Socket, to: Socket, direction: "up" | "down", first: number) => {
    let [queued, began] = [0, false];
    let last: Promise<unknown> = Promise.resolve();
    const send = async (before: Promise<unknown>, due: number, chunk: Buffer | null) => {
      await before;
      const wait = due - performance.now();
      if (wait > 0) await sleep(wait);
      if (to.destroyed) return;
      if (chunk === null) {
        to.end();
        return;
      }
      if (!to.write(chunk)) await drained(to);
      queued -= chunk.length;
      if (queued < bufferLimit) from.resume();
    };
    from.on("data", (chunk: Buffer) => {
      bytes[direction] += chunk.length;
      if (direction === "up" && requestStart.test(chunk.toString("latin1", 0, 8))) requests += 1;
      const now = performance.now();
      const occupied = bytesPerSecond === undefined ? 0 : (chunk.length / bytesPerSecond) * 1000;
      free[direction] = Math.max(now, free[direction]) + occupied;
      const due = free[direction] + roundTrip / 2 + (began ? 0 : first);
      began = true;
      queued += chunk.length;
      if (queued >= bufferLimit) from.pause();
      last = send(last, due, chunk);
    });
    from.on("end", () => {
      last = send(last, performance.now() + roundTrip / 2, null);
    });
    from.on("close", () => {
      // A reset goes on at once; an orderly end has been passed on in its turn.
      if (from.errored) to.destroy();
    });
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host: targetHost, port: Number(targetPort), allowHalfOpen: true, noDelay: true });
    keep(client);
    keep(upstream);
    pass(client, upstream, "up", roundTrip);
    pass(upstream, client, "down", 0);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the line has no port");
  return {
    host: `127.0.0.1:${address.port}`,
    get bytes() {
      return { ...bytes };
    },
    get requests() {
      return requests;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A line for the length of a call. */
export async function withLine<T>(target: string, options: LineOptions, use: (line: Line) => Promise<T>): Promise<T> {
  const line = await openLine(target, options);
  try {
    return await use(line);
  } finally {
    await line.close();
  }
}
