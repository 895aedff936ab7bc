import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type ConnectionFaults, type FaultProxy, startFaultProxy } from "./support/fault-proxy.js";

const body = Buffer.alloc(300_000, "abc");
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function proxied(faults: (connection: number) => ConnectionFaults | null): Promise<FaultProxy> {
  const server: Server = createServer((_, response) => response.end(body));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const proxy = await startFaultProxy({ host: "127.0.0.1", port: address.port, faults });
  cleanups.push(() => proxy.close());
  return proxy;
}

/** One request on a connection of its own: the bytes that came, and how the connection ended. */
async function exchange(proxy: FaultProxy): Promise<{ readonly bytes: Buffer; readonly error: string | null }> {
  const socket = connect({ host: "127.0.0.1", port: proxy.port });
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return { bytes: Buffer.concat(chunks), error: null };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error: (error as NodeJS.ErrnoException).code ?? "unknown" };
  }
}

describe("the fault proxy", () => {
  it("passes everything on without a fault", async () => {
    const proxy = await proxied(() => null);
    const { bytes, error } = await exchange(proxy);
    expect(error).toBeNull();
    expect(bytes.subarray(-body.length).equals(body)).toBe(true);
    expect([proxy.connections, proxy.struck, proxy.bytes.down]).toEqual([1, 0, bytes.length]);
  });

  it("cuts after a number of bytes", async () => {
    const proxy = await proxied(() => ({ down: { cutAfter: 1000 } }));
    const { bytes, error } = await exchange(proxy);
    expect([bytes.length, error, proxy.struck]).toEqual([1000, null, 1]);
  });

  it("resets after a number of bytes", async () => {
    const proxy = await proxied(() => ({ down: { resetAfter: 1000 } }));
    const { bytes, error } = await exchange(proxy);
    expect(error).toBe("ECONNRESET");
    expect(bytes.length).toBeLessThanOrEqual(1000);
  });

  it("turns one byte over", async () => {
    const proxy = await proxied((connection) => (connection === 0 ? { down: { corruptAt: 5000 } } : null));
    const [corrupt, whole] = [await exchange(proxy), await exchange(proxy)];
    const differing = [...whole.bytes.keys()].filter((at) => whole.bytes[at] !== corrupt.bytes[at]);
    expect(differing).toEqual([5000]);
  });

  it("repeats bytes, also over the border of a chunk", async () => {
    const duplicate = { at: 60_000, length: 10_000 };
    const proxy = await proxied((connection) => (connection === 0 ? { down: { duplicate } } : null));
    const [doubled, whole] = [await exchange(proxy), await exchange(proxy)];
    const part = whole.bytes.subarray(60_000, 70_000);
    expect(
      doubled.bytes.equals(Buffer.concat([whole.bytes.subarray(0, 70_000), part, whole.bytes.subarray(70_000)])),
    ).toBe(true);
    expect(proxy.struck).toBe(1);
  });

  it("closes one half and keeps the other one open", async () => {
    const proxy = await proxied(() => ({ down: { halfCloseAfter: 500 } }));
    const socket = connect({ host: "127.0.0.1", port: proxy.port, allowHalfOpen: true });
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let received = 0;
    socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
    });
    await once(socket, "end");
    expect([received, proxy.struck, socket.writable]).toEqual([500, 1, true]);
    socket.destroy();
  });

  it("refuses a connection", async () => {
    const proxy = await proxied(() => ({ refuse: true }));
    expect((await exchange(proxy)).error).toBe("ECONNRESET");
  });

  it("stalls with the connection open until the client leaves", async () => {
    const proxy = await proxied(() => ({ down: { stallAfter: 500 } }));
    const socket = connect({ host: "127.0.0.1", port: proxy.port });
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let received = 0;
    const stalled = new Promise<void>((resolve) => {
      socket.on("data", (chunk) => {
        received += chunk.length;
        if (received === 500) resolve();
      });
    });
    await stalled;
    expect(socket.readable).toBe(true);
    expect(received).toBe(500);
    socket.destroy();
  });
});
