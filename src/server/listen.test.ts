import { mkdtemp, readdir, rm } from "node:fs/promises";
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../oci/digest.js";
import { type Listening, listen } from "./listen.js";
import { createRegistry, type Registry } from "./registry.js";

let directory: string;
let registry: Registry;
let listening: Listening;
let port: number;
const failures: unknown[] = [];

beforeEach(async () => {
  failures.length = 0;
  directory = await mkdtemp(join(tmpdir(), "lading-listen-"));
  registry = createRegistry({
    storage: { directory: join(directory, "data") },
    durability: "fast",
  });
  listening = await listen(registry, { port: 0, idleMs: 300, onError: (error) => failures.push(error) });
  port = Number(new URL(listening.url).port);
});
afterEach(async () => {
  await listening.close(0);
  await registry.close();
  await rm(directory, { recursive: true, force: true });
  expect(failures).toEqual([]);
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

async function send(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: Uint8Array; host?: string; agent?: Agent } = {},
): Promise<Answer> {
  return await new Promise<Answer>((resolve, reject) => {
    const { headers = {}, body, host = "127.0.0.1", agent } = options;
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    const outgoing = request({ host, port, method, path, headers: { ...length, ...headers }, agent: agent ?? false });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    outgoing.end(body);
  });
}

async function startUpload(): Promise<string> {
  const answer = await send("POST", "/v2/a/blobs/uploads/", { headers: { "content-length": "0" } });
  expect(answer.status).toBe(202);
  return answer.headers.location ?? "";
}

/** A connection of its own, to send what no client library would. */
async function raw(): Promise<{ socket: Socket; text: () => string; closed: Promise<void> }> {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  await new Promise<void>((resolve) => socket.on("connect", () => resolve()));
  return { socket, text: () => text, closed };
}

describe("a registry that listens", () => {
  it("answers on both loopback families, on one port", async () => {
    expect(listening.url).toBe(`http://localhost:${port}`);
    expect(listening.urls[0]).toBe(`http://127.0.0.1:${port}`);
    for (const url of listening.urls) {
      const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
      expect((await send("GET", "/v2/", { host })).status).toBe(200);
    }
  });

  it("takes and gives blobs and manifests whole, with their exact length", async () => {
    const content = Buffer.alloc(5_000_000, "content");
    const digest = digestOf(content);
    const location = await startUpload();
    const put = await send("PUT", `${location}?digest=${digest}`, { body: content });
    expect([put.status, put.headers.location]).toEqual([201, `/v2/a/blobs/${digest}`]);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let round = 0; round < 3; round++) {
      const got = await send("GET", `/v2/a/blobs/${digest}`, { agent });
      expect([got.status, got.headers["content-length"], got.headers["transfer-encoding"]]).toEqual([
        200,
        String(content.length),
        undefined,
      ]);
      expect(got.body.equals(content)).toBe(true);
      const head = await send("HEAD", `/v2/a/blobs/${digest}`, { agent });
      expect([head.status, head.headers["content-length"], head.body.length]).toEqual([200, String(content.length), 0]);
      const part = await send("GET", `/v2/a/blobs/${digest}`, { agent, headers: { range: "bytes=7-13" } });
      expect([part.status, part.body.toString()]).toEqual([206, "content"]);
      const status = await send("GET", `/v2/a/manifests/none`, { agent });
      expect([status.status, JSON.parse(status.body.toString()).errors[0].code]).toEqual([404, "MANIFEST_UNKNOWN"]);
    }
    agent.destroy();
  });

  it("gives the same through the web's Request and Response", async () => {
    const put = await registry.fetch(
      new Request(`${listening.url}/v2/a/blobs/uploads/?digest=${digestOf("content")}`, {
        method: "POST",
        body: "content",
      }),
    );
    expect(put.status).toBe(201);
    const url = new URL(put.headers.get("location") ?? "", listening.url);
    expect(await (await registry.fetch(new Request(url))).text()).toBe("content");
    expect((await registry.fetch(new Request(url, { method: "HEAD" }))).headers.get("content-length")).toBe("7");
    expect(await (await fetch(url)).text()).toBe("content");
  });

  it.each([
    ["localhost", 200],
    ["127.0.0.1:1", 200],
    ["127.9.9.9", 200],
    ["[::1]:5050", 200],
    ["host.docker.internal", 200],
    ["registry.evil.example", 421],
    ["localhost.evil.example", 421],
    ["192.168.0.1", 421],
    ["127.0.0.1.evil.example", 421],
  ])("known as %s answers %i", async (host, status) => {
    expect((await send("GET", "/v2/", { headers: { host } })).status).toBe(status);
  });

  it("refuses pages of other sites, and sends no CORS headers", async () => {
    const own = `http://localhost:${port}`;
    const headers = { host: `localhost:${port}` };
    for (const [origin, status] of [
      ["https://evil.example", 403],
      ["null", 403],
      [own, 200],
    ] as const) {
      const answer = await send("GET", "/v2/", { headers: { ...headers, origin } });
      expect(answer.status).toBe(status);
      expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  it("refuses before the body where the client waits, and asks for it where it wants it", async () => {
    const wait = async (path: string): Promise<{ status: number; continued: boolean }> =>
      await new Promise((resolve, reject) => {
        let continued = false;
        const headers = { expect: "100-continue", "content-length": "7" };
        const outgoing = request({ port, host: "127.0.0.1", method: "PUT", path, headers, agent: false });
        outgoing.on("continue", () => {
          continued = true;
          outgoing.end("content");
        });
        outgoing.on("response", (response) => {
          response.resume();
          outgoing.destroy();
          resolve({ status: response.statusCode ?? 0, continued });
        });
        outgoing.on("error", reject);
        outgoing.flushHeaders();
      });
    expect(await wait("/v2/a/blobs/uploads/00000000-0000-0000-0000-000000000000?digest=bad")).toEqual({
      status: 400,
      continued: false,
    });
    const location = await startUpload();
    expect(await wait(`${location}?digest=${digestOf("content")}`)).toEqual({ status: 201, continued: true });
  });

  it("tells a client that sends too much why it does not read on", async () => {
    const { socket, text, closed } = await raw();
    socket.write(
      "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    const block = `100000\r\n${"x".repeat(0x100000)}\r\n`;
    const pump = (): void => {
      while (!socket.destroyed && socket.write(block));
    };
    socket.on("drain", pump);
    pump();
    await closed;
    expect(text()).toMatch(/^HTTP\/1\.1 413 /);
    expect(text()).toMatch(/SIZE_INVALID/);
  });

  it("keeps what a client that broke off had sent, and goes on from there", async () => {
    const location = await startUpload();
    const { socket } = await raw();
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n${"x".repeat(600)}`);
    // what has arrived is written once the connection is gone
    await new Promise<void>((resolve) => socket.end(() => resolve()));
    socket.destroy();
    await expect.poll(async () => (await send("GET", location)).headers.range).toBe("0-599");
    const digest = digestOf("x".repeat(1000));
    const rest = await send("PATCH", location, {
      headers: { "content-range": "600-999" },
      body: Buffer.from("x".repeat(400)),
    });
    expect([rest.status, rest.headers.range]).toEqual([202, "0-999"]);
    expect((await send("PUT", `${location}?digest=${digest}`, { headers: { "content-length": "0" } })).status).toBe(
      201,
    );
  });

  it("cuts off who sends nothing more, and keeps what came", async () => {
    const location = await startUpload();
    const { socket, closed } = await raw();
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nfirst`);
    await closed;
    await expect.poll(async () => (await send("GET", location)).headers.range).toBe("0-4");
  });

  it("cuts off who takes nothing, and leaves no file open", async () => {
    const content = Buffer.alloc(30_000_000);
    const location = await startUpload();
    await send("PUT", `${location}?digest=${digestOf(content)}`, { body: content });
    const { socket, closed } = await raw();
    socket.pause();
    socket.write(`GET /v2/a/blobs/${digestOf(content)} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const open = async (): Promise<number> => {
      if (process.platform !== "linux") return 0;
      const { readlink } = await import("node:fs/promises");
      const files = await readdir("/proc/self/fd");
      const targets = await Promise.all(files.map((file) => readlink(`/proc/self/fd/${file}`).catch(() => "")));
      return targets.filter((target) => target.startsWith(join(directory, "data", "blobs"))).length;
    };
    if (process.platform === "linux") await expect.poll(open).toBe(1);
    await expect.poll(open).toBe(0);
    socket.resume();
    await closed;
  });

  it("tells why it does not want a body also to who sends all of it first", async () => {
    const body = Buffer.alloc(24 * 1024 * 1024);
    const head = `PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`;
    const answer = await new Promise<string>((resolve, reject) => {
      let text = "";
      const socket = connect(Number(new URL(listening.urls[0] ?? "").port), "127.0.0.1");
      socket.once("error", reject);
      socket.once("close", () => resolve(text));
      socket.write(head);
      // nothing is read before everything is written
      socket.write(body, () => {
        socket.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
      });
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/\r\nconnection: close\r\n/i);
    expect(answer).toContain("SIZE_INVALID");
  });

  it("ends what runs before it closes, and takes nothing new", async () => {
    const location = await startUpload();
    const { socket, text, closed } = await raw();
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234`);
    await expect.poll(async () => (await readdir(join(directory, "data/repos/a/_uploads"))).length).toBe(1);
    // longer than this test may take: nothing is cut off here
    const closing = listening.close(300_000);
    await expect(send("GET", "/v2/")).rejects.toThrow();
    socket.write("56789");
    await closing;
    await closed;
    expect(text()).toMatch(/^HTTP\/1\.1 202 /);
  });

  it("cuts off what does not end in time", async () => {
    const location = await startUpload();
    const { socket, closed } = await raw();
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234`);
    await listening.close(10);
    await closed;
  });
});

describe("where to listen", () => {
  it("is loopback alone, unless it is opened", async () => {
    for (const host of ["0.0.0.0", "::", "192.168.0.1", "example.org"]) {
      await expect(listen(registry, { host, port: 0 })).rejects.toMatchObject({ code: "usage" });
    }
    const open = await listen(registry, { host: "0.0.0.0", port: 0, open: true, hostNames: ["registry.lan"] });
    try {
      const { port: openPort } = new URL(open.urls[0] ?? "");
      for (const [host, status] of [
        ["192.168.0.1", 200],
        ["registry.lan", 200],
        ["evil.example", 421],
      ] as const) {
        port = Number(openPort);
        expect((await send("GET", "/v2/", { headers: { host } })).status).toBe(status);
      }
    } finally {
      await open.close(0);
    }
  });

  it("is a conflict where somebody else listens, in either family", async () => {
    await expect(listen(registry, { port })).rejects.toMatchObject({ code: "conflict" });
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "::1", resolve));
    const address = other.address();
    const taken = typeof address === "object" && address !== null ? address.port : 0;
    await expect(listen(registry, { port: taken })).rejects.toMatchObject({ code: "conflict" });
    await new Promise((resolve) => other.close(resolve));
  });
});
