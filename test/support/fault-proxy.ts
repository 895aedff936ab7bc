import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { everythingRead } from "./everything-read.js";

/** What happens to one direction of one connection. Offsets count that direction's bytes, heads included. */
export interface Fault {
  /** Wait before the first byte goes on, in ms. */
  readonly delay?: number;
  /** Pass this many bytes on, then end both sides in order (FIN). */
  readonly cutAfter?: number;
  /** Pass this many bytes on, and once they were read, reset both sides (RST). */
  readonly resetAfter?: number;
  /** Pass this many bytes on, then nothing more, with the connection open. */
  readonly stallAfter?: number;
  /** Pass this many bytes on, then end this direction in order (FIN) and leave the other one open. */
  readonly halfCloseAfter?: number;
  /** Turn the byte at this offset over. */
  readonly corruptAt?: number;
  /** Turn a byte over each time that so many have passed. */
  readonly corruptEvery?: number;
  /** Send the bytes from `at` to `at + length` twice. */
  readonly duplicate?: { readonly at: number; readonly length: number };
  /** Bytes a second. */
  readonly throttle?: number;
}

/** The faults of one connection; null for none. */
export interface ConnectionFaults {
  /** From the client to the server. */
  readonly up?: Fault;
  /** From the server to the client. */
  readonly down?: Fault;
  /** Reset at once, as a port that nobody listens on does. */
  readonly refuse?: boolean;
}

export interface FaultProxyOptions {
  readonly host: string;
  readonly port: number;
  /** Asked for each connection, counted from 0. */
  readonly faults: (connection: number) => ConnectionFaults | null;
}

export interface FaultProxy {
  readonly port: number;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Connections so far. */
  readonly connections: number;
  /** Bytes that were passed on. */
  readonly bytes: { readonly up: number; readonly down: number };
  /** How many faults that end or change a stream have struck. */
  readonly struck: number;
  close(): Promise<void>;
}

/** RST without the FIN that Node sends before it: a peer that reads would take that for an orderly end. */
function reset(socket: Socket): void {
  Object.assign(socket, { _final: (done: () => void) => done() });
  socket.resetAndDestroy();
}

/** A TCP proxy in front of a server that delays, cuts, resets, stalls, corrupts, repeats or throttles what passes through. */
export async function startFaultProxy({ host, port, faults }: FaultProxyOptions): Promise<FaultProxy> {
  const sockets = new Set<Socket>();
  const closing = new AbortController();
  const bytes = { up: 0, down: 0 };
  let connections = 0;
  let struck = 0;

  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const plan = faults(connections++) ?? {};
    track(client);
    if (plan.refuse === true) {
      struck += 1;
      reset(client);
      return;
    }
    const upstream = connect({ host, port, allowHalfOpen: true, noDelay: true });
    track(upstream);
    const end = (how: "cut" | "reset"): void => {
      struck += 1;
      for (const socket of [client, upstream]) {
        if (how === "reset") reset(socket);
        else socket.end(() => socket.destroy());
      }
    };
    void pass(client, upstream, plan.up ?? {}, "up", end);
    void pass(upstream, client, plan.down ?? {}, "down", end);
  });

  function track(socket: Socket): void {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A peer that goes away is part of the game; `pass` sees it as the end of its loop.
    socket.on("error", () => socket.destroy());
  }

  async function pass(
    from: Socket,
    to: Socket,
    fault: Fault,
    direction: "up" | "down",
    end: (how: "cut" | "reset") => void,
  ): Promise<void> {
    let offset = 0;
    const { cutAfter, resetAfter, stallAfter, halfCloseAfter, duplicate } = fault;
    const limit = Math.min(...[cutAfter, resetAfter, stallAfter, halfCloseAfter].map((bytes) => bytes ?? Infinity));
    let again = Buffer.alloc(0);
    try {
      if (fault.delay !== undefined) await sleep(fault.delay, undefined, { signal: closing.signal });
      for await (const chunk of from as AsyncIterable<Buffer>) {
        const passing = chunk.subarray(0, Math.max(0, limit - offset));
        const at = (fault.corruptAt ?? -1) - offset;
        if (at >= 0 && at < passing.length) {
          passing[at] = (passing[at] ?? 0) ^ 0xff;
          struck += 1;
        }
        const every = fault.corruptEvery ?? Infinity;
        for (let next = (Math.floor(offset / every) + 1) * every; next < offset + passing.length; next += every) {
          passing[next - offset] = (passing[next - offset] ?? 0) ^ 0xff;
          struck += 1;
        }
        let repeated = Buffer.alloc(0);
        if (duplicate !== undefined && offset < duplicate.at + duplicate.length) {
          const [from, to] = [duplicate.at - offset, duplicate.at + duplicate.length - offset];
          again = Buffer.concat([again, passing.subarray(Math.max(0, from), Math.max(0, to))]);
          if (again.length === duplicate.length) {
            repeated = Buffer.concat([passing.subarray(0, to), again, passing.subarray(to)]);
            struck += 1;
          }
        }
        offset += passing.length;
        bytes[direction] += passing.length;
        if (fault.throttle !== undefined) {
          await sleep((passing.length / fault.throttle) * 1000, undefined, { signal: closing.signal });
        }
        const sent = repeated.length > 0 ? repeated : passing;
        if (sent.length > 0 && !to.write(sent)) await once(to, "drain", { signal: closing.signal });
        if (offset < limit) continue;
        if (limit === stallAfter) {
          struck += 1;
          await once(from, "close", { signal: closing.signal });
        } else if (limit === halfCloseAfter) {
          // What still comes is for nobody; reading it keeps the connection open.
          if (!to.writableEnded) struck += 1;
          to.end();
          continue;
        } else if (limit === resetAfter) {
          // A reset throws away what was not read yet; and libuv reports data and RST that it sees in one poll as data and an
          // orderly end.
          await everythingRead(to, closing.signal);
          end("reset");
        } else end("cut");
        return;
      }
      to.end();
    } catch {
      // One side is gone (or the proxy closes): the other one goes with it.
      from.destroy();
      to.destroy();
    }
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    get connections() {
      return connections;
    },
    get bytes() {
      return { ...bytes };
    },
    get struck() {
      return struck;
    },
    async close() {
      closing.abort();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
