import { createServer, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

export interface ForwardProxy {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** What was asked of it: `GET http://…` or `CONNECT host:port`, with the headers. */
  readonly asked: readonly { readonly line: string; readonly headers: IncomingHttpHeaders }[];
  close(): Promise<void>;
}

/** An HTTP proxy. @param routes Ports of loopback by the `host:port` that is asked for; all else gets 502. */
export async function startForwardProxy(routes: Readonly<Record<string, number>>): Promise<ForwardProxy> {
  const asked: { line: string; headers: IncomingHttpHeaders }[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    asked.push({ line: `${request.method} ${request.url}`, headers: request.headers });
    const url = new URL(request.url ?? "", "http://nowhere.invalid");
    const port = routes[`${url.hostname}:${url.port || "80"}`];
    if (port === undefined) {
      response.writeHead(502).end();
      return;
    }
    const { "proxy-authorization": _, ...headers } = request.headers;
    const options = {
      host: "127.0.0.1",
      port,
      method: request.method ?? "GET",
      path: url.pathname + url.search,
      headers,
    };
    const onward = httpRequest(options, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  server.on("connect", (request, socket: Socket) => {
    asked.push({ line: `CONNECT ${request.url}`, headers: request.headers });
    socket.on("error", () => {});
    sockets.add(socket);
    const port = routes[request.url ?? ""];
    if (port === undefined) {
      socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const onward = connect(port, "127.0.0.1", () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
    onward.on("error", () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        for (const socket of sockets) socket.destroy();
      }),
  };
}
