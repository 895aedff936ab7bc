import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** An answer of the fake engine: a JSON document, or what the test does with the response. */
export type FakeAnswer =
  | { readonly status?: number; readonly json: unknown }
  | ((request: IncomingMessage, response: ServerResponse) => void | Promise<void>);

export interface FakeEngine {
  readonly socketPath: string;
  /** `METHOD /path` without version and query -> answer. May be changed while it runs. */
  readonly answers: Map<string, FakeAnswer>;
  /** What was asked for, in order, in the same form. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** A scripted Docker Engine on a real socket, for what no real one does on demand. Bodies are read to their end first. */
export async function startFakeEngine(options: { readonly apiVersion?: string } = {}): Promise<FakeEngine> {
  const folder = await mkdtemp(join(tmpdir(), "lading-fake-"));
  const socketPath = join(folder, "docker.sock");
  const answers = new Map<string, FakeAnswer>([
    ["GET /info", { json: { OSType: "linux", Architecture: "x86_64", ServerVersion: "0.0-fake", DriverStatus: [] } }],
    ["GET /images/json", { json: [] }],
  ]);
  const asked: string[] = [];
  const server = createServer((request, response) => {
    void serve(request, response).catch(() => response.destroy());
  });
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url === "/_ping") {
      response.writeHead(200, { "Api-Version": options.apiVersion ?? "1.41" }).end("OK");
      return;
    }
    const path = (request.url ?? "").replace(/^\/v[\d.]+/, "").replace(/\?.*$/, "");
    const key = `${request.method} ${path}`;
    asked.push(key);
    const answer = answers.get(key);
    if (typeof answer === "function") return await answer(request, response);
    for await (const _chunk of request);
    if (answer === undefined) response.writeHead(404).end(JSON.stringify({ message: `no ${key}` }));
    else response.writeHead(answer.status ?? 200).end(JSON.stringify(answer.json));
  };
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  return {
    socketPath,
    answers,
    asked,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
