import { type AddressInfo, createServer, type Socket } from "node:net";

/** A place that must not be reached: it counts who comes, and keeps what they say. */
export interface Canary {
  readonly port: number;
  /** `ADDRESS:PORT` */
  readonly host: string;
  /** Connections so far. */
  readonly connections: number;
  /** All bytes so far, of all connections. */
  readonly heard: string;
  close(): Promise<void>;
}

/** Listens at an address of this machine; on Linux all of 127.0.0.0/8 is. */
export async function startCanary(address = "127.0.0.1", port = 0): Promise<Canary> {
  const sockets = new Set<Socket>();
  let heard = "";
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      // Whoever gets this far shall not hang.
      socket.end("HTTP/1.1 418 No\r\ncontent-length: 0\r\n\r\n");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    port: bound,
    host: `${address}:${bound}`,
    get connections() {
      return connections;
    },
    get heard() {
      return heard;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
