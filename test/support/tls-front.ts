import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, type Socket } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";

export interface TlsFront {
  readonly port: number;
  close(): Promise<void>;
}

/** TLS before a server that has none. @param folder Holds `cert.pem` and `key.pem`. @param port The server's, on loopback. */
export async function startTlsFront(folder: string, port: number): Promise<TlsFront> {
  const [cert, key] = await Promise.all(["cert.pem", "key.pem"].map((name) => readFile(join(folder, name), "utf8")));
  const sockets = new Set<Socket>();
  const server = createServer({ cert, key }, (outer) => {
    const inner = connect(port, "127.0.0.1");
    for (const [socket, other] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => other.destroy());
      socket.pipe(other);
    }
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
