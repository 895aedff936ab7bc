import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { makeCertificates } from "../../test/support/certificates.js";
import { manualClock } from "../../test/support/manual-clock.js";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import { describeBytes, withCode } from "../../test/support/store-contract.js";
import { startTlsFront } from "../../test/support/tls-front.js";
import { giveBack } from "../content/lent-chunk.js";
import { HttpDispatch } from "./dispatch.js";

const content = Buffer.from(randomBytesOf("bulk", 9_000_000));
const blob = describeBytes(content);
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Script = (socket: Socket, request: string, count: number) => unknown;

/** A registry that says word by word what a test has it say. @returns its URL, and the requests that came */
async function speak(script: Script): Promise<{ readonly url: string; readonly requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      requests.push(String(bytes));
      void script(socket, String(bytes), requests.length);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

function repositoryAt(url: string, options: Parameters<typeof testClient>[1] = {}) {
  const { client, clock } = testClient(url, options);
  closers.push(() => client.close());
  return { repository: client.repository("a/b"), clock };
}

/** Bytes, copied out of memory that goes back at once, as the store does it. */
async function received(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) {
    chunks.push(Buffer.from(chunk));
    giveBack(chunk);
  }
  return Buffer.concat(chunks);
}

const head = (length: number, more = "") => `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n${more}\r\n`;

describe("a large blob", () => {
  test("comes whole, in whatever pieces, and its memory is used again", async () => {
    const { url, requests } = await speak(async (socket) => {
      const answer = Buffer.concat([Buffer.from(head(content.length)), content]);
      for (let at = 0, size = 1; at < answer.length; at += size, size = (size * 7) % 300_007) {
        socket.write(answer.subarray(at, at + size));
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const { repository } = repositoryAt(url);
    for (let times = 0; times < 3; times += 1) {
      expect(describeBytes(await received(repository.get(blob))).digest).toBe(blob.digest);
    }
    expect(requests).toHaveLength(3);
  });

  test("comes through TLS", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lading-bulk-"));
    closers.push(() => rm(folder, { recursive: true }));
    const { serverFolder } = await makeCertificates(folder);
    const plain = await speak((socket) => {
      socket.write(head(content.length));
      socket.write(content);
    });
    const front = await startTlsFront(serverFolder, Number(new URL(plain.url).port));
    closers.push(() => front.close());
    const url = `https://localhost:${front.port}`;
    const { repository } = repositoryAt(url, { ca: await readFile(join(serverFolder, "ca.pem"), "utf8") });
    expect(describeBytes(await received(repository.get(blob))).digest).toBe(blob.digest);
    const stranger = repositoryAt(url).repository;
    await expect(received(stranger.get(blob))).rejects.toEqual(withCode("tls"));
  });

  test("with an answer that is not plain comes over the ordinary way", async () => {
    const { url, requests } = await speak((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      socket.write(`${content.length.toString(16)}\r\n`);
      socket.write(content);
      socket.write("\r\n0\r\n\r\n");
    });
    const { repository } = repositoryAt(url);
    expect(describeBytes(await received(repository.get(blob))).digest).toBe(blob.digest);
    expect(requests).toHaveLength(2);
  });

  test("that is redirected tells the gate who redirects, also where the answer ends its connection", async () => {
    const { url } = await speak((socket) =>
      socket.write("HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
    );
    const dispatch = new HttpDispatch({
      perHost: 1,
      insecureHosts: [],
      env: {},
      idleTimeout: 60_000,
      clock: manualClock(),
    });
    closers.push(() => dispatch.close());
    const call = { method: "GET", url: new URL(url), role: "registry", headers: {}, access: null, bulk: true } as const;
    const answer = await dispatch.send({ ...call, signal: undefined });
    expect([answer.status, answer.addressKind]).toEqual([307, "loopback"]);
  });

  test("of a server that is cut goes on where it stopped", async () => {
    const { url, requests } = await speak((socket, request, count) => {
      const from = Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0);
      const rest = content.subarray(from);
      const range = `Content-Range: bytes ${from}-${content.length - 1}/${content.length}\r\n`;
      socket.write(from === 0 ? head(rest.length) : head(rest.length, range).replace("200 OK", "206 Partial Content"));
      if (count > 2) socket.write(rest);
      else socket.end(rest.subarray(0, 345_678));
    });
    const { repository } = repositoryAt(url);
    expect(describeBytes(await received(repository.get(blob))).digest).toBe(blob.digest);
    const ranges = requests.map((request) => /range: (\S+)/i.exec(request)?.[1]);
    expect(ranges).toEqual([undefined, "bytes=345678-", "bytes=691356-"]);
  });

  test("never has more than what was announced, whatever follows", async () => {
    const { url } = await speak((socket) => {
      socket.write(head(content.length));
      socket.write(content);
      socket.write(Buffer.alloc(3_000_000, "more"));
    });
    const { repository } = repositoryAt(url);
    expect(describeBytes(await received(repository.get(blob))).digest).toBe(blob.digest);
  });

  test("that is left half-way closes its connection", async () => {
    let onClosed = (): void => {};
    const closed = new Promise<void>((resolve) => {
      onClosed = resolve;
    });
    const { url } = await speak((socket) => {
      socket.once("close", onClosed);
      socket.write(head(content.length));
      socket.write(content.subarray(0, 4_000_000));
    });
    const { repository } = repositoryAt(url);
    for await (const chunk of repository.get(blob)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await closed;
  });
});

describe("what is no answer", () => {
  test.each<[string, "unreachable" | "limit-exceeded", string]>([
    ["no HTTP", "unreachable", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    ["a head without an end", "limit-exceeded", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(300_000)}`],
    ["a name with a space", "unreachable", `HTTP/1.1 200 OK\r\nBad name: x\r\n\r\n`],
    ["two lengths", "unreachable", `HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 9000000\r\n\r\n`],
  ])("%s is an error of the registry, as it is for any other request", async (_, code, text) => {
    const { url } = await speak((socket) => socket.end(text));
    const { repository } = repositoryAt(url);
    await expect(received(repository.get(blob))).rejects.toEqual(withCode(code));
  });

  test("a connection that is silent is given up", async () => {
    const { url } = await speak((socket) => socket.write(head(content.length)));
    const { repository, clock } = repositoryAt(url);
    const expected = expect(received(repository.get(blob))).rejects.toEqual(withCode("unreachable"));
    let over = false;
    void expected.finally(() => {
      over = true;
    });
    while (!over) {
      clock.advance(30_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expected;
  });
});
