import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isLadingError } from "../errors.js";
import { EngineApi, type EngineRequest, versionAtLeast } from "./engine-api.js";

let folder: string;
let server: Server | null = null;
let api: EngineApi;
let seen: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lading-api-"));
  api = new EngineApi({ endpoint: { kind: "socket", path: join(folder, "s") }, env: {}, platform: "linux" });
  seen = [];
});
afterEach(async () => {
  await api.close();
  server?.closeAllConnections();
  await new Promise<void>((resolve) => (server === null ? resolve() : server.close(() => resolve())));
  server = null;
  await rm(folder, { recursive: true, force: true });
});

/** An engine on a real socket: answers the ping, and the rest as the test says. */
async function serve(
  listener: RequestListener,
  ping: Record<string, string> = { "Api-Version": "1.41" },
): Promise<void> {
  const made = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    if (request.url === "/_ping") response.writeHead(200, ping).end("OK");
    else listener(request, response);
  });
  server = made;
  await new Promise<void>((resolve) => made.listen(join(folder, "s"), resolve));
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return isLadingError(error) ? error.code : `no LadingError: ${String(error)}`;
  }
  return "none";
}

const call = (more: Partial<EngineRequest> = {}): EngineRequest => ({
  path: "/images/json",
  doing: "listing",
  ...more,
});

async function read(source: AsyncIterable<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of source) text += Buffer.from(chunk).toString();
  return text;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  return await read(request as AsyncIterable<Buffer>);
}

describe("versions", () => {
  it.each([
    ["1.41", "/v1.41/images/json"],
    ["1.9", "/v1.9/images/json"],
    ["9.99", "/v1.51/images/json"],
  ])("with an engine of %s asks for %s", async (theirs, target) => {
    await serve((_request, response) => response.end("[]"), { "Api-Version": theirs });
    expect(await api.json(call())).toEqual([]);
    expect(seen).toEqual(["GET /_ping", `GET ${target}`]);
  });

  it("are asked for once, by however many calls", async () => {
    await serve((_request, response) => response.end("{}"));
    await Promise.all([api.json(call()), api.json(call()), api.json(call())]);
    expect(seen.filter((line) => line.endsWith("_ping"))).toHaveLength(1);
  });

  it("of Podman's own API are its own", async () => {
    await serve((_request, response) => response.end("{}"), { "Api-Version": "1.41", "Libpod-Api-Version": "4.3.1" });
    await api.json(call({ path: "/libpod/info", query: { a: "x y", b: undefined, c: false } }));
    expect(seen[1]).toBe("GET /v4.3.1/libpod/info?a=x+y&c=false");
  });

  it("are compared by number", () => {
    expect(versionAtLeast("1.9", "1.41")).toBe(false);
    expect(versionAtLeast("1.41", "1.41")).toBe(true);
    expect(versionAtLeast("2.0", "1.41")).toBe(true);
  });
});

describe("an engine that is not there", () => {
  it("is engine-unavailable, with the store in the hint", async () => {
    const error = await api.ping().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "engine-unavailable", hint: expect.stringContaining("--engine store") });
  });

  it("is engine-unavailable where the socket is a file", async () => {
    await writeFile(join(folder, "s"), "");
    expect(await codeOf(api.ping())).toBe("engine-unavailable");
  });

  it.each([
    ["hangs up", ""],
    ["speaks something else", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["is another server", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"],
    ["answers with an error", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"],
  ])("is engine-unavailable where it %s", async (_what, answer) => {
    const raw = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end(answer));
    });
    await new Promise<void>((resolve) => raw.listen(join(folder, "s"), resolve));
    expect(await codeOf(api.ping())).toBe("engine-unavailable");
    await new Promise<void>((resolve) => raw.close(() => resolve()));
  });

  it("is asked again by the next call", async () => {
    expect(await codeOf(api.ping())).toBe("engine-unavailable");
    await serve((_request, response) => response.end("[]"));
    expect(await api.json(call())).toEqual([]);
  });
});

describe("answers", () => {
  it.each([
    [404, "not-found"],
    [409, "conflict"],
    [400, "engine-failed"],
    [500, "engine-failed"],
  ])("with status %d are %s", async (status, code) => {
    await serve((_request, response) => response.writeHead(status).end('{"message":"that is why"}'));
    const error = await api.json(call()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, status });
    expect(String(error)).toContain("that is why");
  });

  it("tell a full disk apart", async () => {
    await serve((_request, response) => response.writeHead(500).end('{"message":"write: no space left on device"}'));
    expect(await codeOf(api.json(call()))).toBe("no-space");
  });

  it("that are no JSON are engine-failed, and nothing is null", async () => {
    let body = "<html>";
    await serve((_request, response) => response.end(body));
    expect(await codeOf(api.json(call()))).toBe("engine-failed");
    body = "";
    expect(await api.json(call())).toBeNull();
  });

  it("that are cut off are engine-failed", async () => {
    await serve((_request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write("12345", () => response.destroy());
    });
    const work = api.stream(call()).then(read);
    expect(await codeOf(work)).toBe("engine-failed");
  });

  it("end with the caller's signal, whose reason is the cause", async () => {
    const controller = new AbortController();
    await serve(() => controller.abort(new Error("enough")));
    const error = await api.json(call({ signal: controller.signal })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "cancelled", cause: controller.signal.reason });
  });

  it("may be left in the middle, which closes the connection", async () => {
    let closed: Promise<void> | null = null;
    await serve((request, response) => {
      closed = new Promise((resolve) => request.socket.once("close", () => resolve()));
      response.write("x");
    });
    for await (const _chunk of await api.stream(call())) break;
    await closed;
  });
});

describe("bodies", () => {
  const upload = (body: AsyncIterable<Uint8Array>, signal?: AbortSignal): EngineRequest =>
    call({ method: "POST", path: "/images/load", body, signal });

  async function* blocks(count: number): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < count; index++) yield Buffer.alloc(64 * 1024, index);
  }

  it("are streamed whole", async () => {
    await serve((request, response) => {
      void bodyOf(request).then((text) => response.end(JSON.stringify({ got: text.length })));
    });
    expect(JSON.parse(await read(await api.stream(upload(blocks(40)))))).toEqual({ got: 40 * 64 * 1024 });
  });

  it("stop where the engine refuses, whose answer counts", async () => {
    await serve((_request, response) => {
      response.writeHead(500, { Connection: "close" }).end('{"message":"no space left on device"}');
    });
    let left = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(64 * 1024);
      } finally {
        left = true;
      }
    }
    expect(await codeOf(api.stream(upload(endless())))).toBe("no-space");
    expect(left).toBe(true);
  });

  it("that fail end the request with their own error", async () => {
    await serve(() => {});
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("x");
      throw Object.assign(new Error("the source broke"), { name: "SourceError" });
    }
    await expect(api.stream(upload(broken()))).rejects.toMatchObject({ name: "SourceError" });
  });

  it("are left when the caller cancels while the engine does not read", async () => {
    const controller = new AbortController();
    await serve((request) => {
      request.pause();
      controller.abort();
    });
    expect(await codeOf(api.stream(upload(blocks(1000), controller.signal)))).toBe("cancelled");
  });
});

it("refuses calls after close", async () => {
  await serve((_request, response) => response.end("[]"));
  await api.json(call());
  await api.close();
  expect(await codeOf(api.json(call()))).toBe("closed");
});
