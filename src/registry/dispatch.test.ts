import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer, type Server } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import { on, startScriptedRegistry } from "../../test/support/scripted-registry.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import { readAll } from "../content/verify.js";

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function open(...args: Parameters<typeof testClient>) {
  const made = testClient(...args);
  closers.push(() => made.client.close());
  return made;
}

async function scripted(...handlers: Parameters<typeof startScriptedRegistry>) {
  const registry = await startScriptedRegistry(...handlers);
  closers.push(() => registry.close());
  return registry;
}

describe("connections", () => {
  test("are kept, and bounded per host", async () => {
    const registry = await scripted();
    const sockets = new Set<Socket>();
    registry.handlers.push((exchange) => {
      sockets.add(exchange.request.socket);
      return false;
    });
    const { client } = open(registry.url, { perHost: 3 });
    const repository = client.repository("a/b");
    await Promise.all(Array.from({ length: 20 }, () => repository.head("v1")));
    await repository.head("v1");
    expect(registry.requests).toHaveLength(21);
    expect(sockets.size).toBeLessThanOrEqual(3);
  });

  test("one that the server has closed meanwhile costs no try", async () => {
    const registry = await scripted();
    registry.handlers.push(
      on("GET", "/v2/", (exchange) => {
        exchange.send(200);
        // After the answer has gone: the client believes that it can be used again.
        exchange.response.once("finish", () => setImmediate(() => exchange.request.socket.destroy()));
      }),
    );
    const { client, clock } = open(registry.url);
    for (let count = 0; count < 20; count += 1) await client.ping();
    expect(clock.waits).toEqual([]);
  });

  test("a copy within one registry does not wait for itself", async () => {
    const registry = await scripted();
    const blobs = Array.from({ length: 6 }, (_, index) => Buffer.from(randomBytesOf(`copy ${index}`, 400_000)));
    const { client } = open(registry.url, { perHost: 1 });
    const [from, to] = [client.repository("a/from"), client.repository("a/to")];
    registry.handlers.push(on("HEAD", /\/a\/to\//, (exchange) => exchange.send(404)));
    for (const bytes of blobs) registry.blobs.set(describeBytes(bytes).digest, bytes);
    const results = await Promise.all(
      blobs.map((bytes) => to.put(describeBytes(bytes), (offset) => from.get(describeBytes(bytes), { offset }))),
    );
    expect(results.map(({ outcome }) => outcome)).toEqual(blobs.map(() => "stored"));
  });

  test("nothing listens: unreachable after five tries, one for a ping", async () => {
    const registry = await scripted();
    await registry.close();
    closers.pop();
    const { client, clock } = open(registry.url);
    await expect(client.ping()).rejects.toEqual(withCode("unreachable"));
    expect(clock.waits).toEqual([]);
    await expect(client.repository("a/b").head("v1")).rejects.toMatchObject({ code: "unreachable", retryable: true });
    expect(clock.waits).toHaveLength(4);
  });

  test("close ends what is under way, and what comes after", async () => {
    const registry = await scripted(on("GET", "/v2/", () => {}));
    const { client } = open(registry.url);
    const pending = expect(client.ping()).rejects.toEqual(withCode("closed"));
    await expect.poll(() => registry.requests.length).toBe(1);
    client.close();
    client.close();
    await pending;
    await expect(client.ping()).rejects.toEqual(withCode("closed"));
  });

  test("a signal ends a request that is not answered", async () => {
    const registry = await scripted(on("HEAD", /./, () => {}));
    const { client } = open(registry.url);
    const abort = new AbortController();
    const reason = new Error("enough");
    const pending = client.repository("a/b").head("v1", { signal: abort.signal });
    const expected = expect(pending).rejects.toMatchObject({ code: "cancelled", cause: reason });
    await expect.poll(() => registry.requests.length).toBe(1);
    abort.abort(reason);
    await expected;
    const late = client.repository("a/b").head("v1", { signal: AbortSignal.timeout(1) });
    await expect(late).rejects.toEqual(withCode("timeout"));
  });

  test("plain http is for loopback and hosts marked insecure", async () => {
    await expect(open("http://reg.example").client.ping()).rejects.toMatchObject({
      code: "unsafe-url",
      hint: expect.stringContaining("--insecure reg.example"),
    });
  });

  test.each(["http://user@localhost", "http://localhost/path", "ftp://localhost", "localhost:5000", "http://a?b"])(
    "%s is no registry's URL",
    (url) => {
      expect(() => testClient(url)).toThrow(withCode("config-invalid"));
    },
  );

  test("Docker Hub is docker.io to people, and dialled where it lives", async () => {
    const dialled: string[] = [];
    const { client } = open("https://docker.io", {
      handler: async (request) => {
        dialled.push(request.headers.host ?? "");
        return { status: 200, headers: {}, body: (async function* () {})() };
      },
    });
    await client.ping();
    expect([client.authority, dialled]).toEqual(["docker.io", ["registry-1.docker.io"]]);
  });
});

describe("TLS", () => {
  let folder: string;
  let server: Server;
  let url: string;
  let requests = 0;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lading-tls-"));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    const form = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    execFileSync("openssl", [...form, "-keyout", key, "-out", cert, ...subject], { stdio: "ignore" });
    server = createHttpsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) => {
      requests += 1;
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `https://localhost:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });

  test("a certificate that nobody vouches for is an error at once, with the way out", async () => {
    const { client, clock } = open(url);
    await expect(client.repository("a/b").head("v1")).rejects.toMatchObject({
      code: "tls",
      hint: expect.stringContaining("--ca-file"),
    });
    expect([requests, clock.waits]).toEqual([0, []]);
  });

  test("plain http where TLS is expected is an error at once, with the way out", async () => {
    const registry = await scripted(() => false);
    const { client, clock } = open(registry.url.replace("http:", "https:"));
    await expect(client.repository("a/b").head("v1")).rejects.toMatchObject({
      code: "tls",
      hint: expect.stringMatching(/plain http.*--insecure/),
    });
    expect(clock.waits).toEqual([]);
  });

  test("a further authority vouches for it", async () => {
    await open(url, { ca: readFileSync(join(folder, "cert.pem"), "utf8") }).client.ping();
  });

  test("insecure does not ask", async () => {
    await open(url, { insecure: true }).client.ping();
  });

  test("insecure for one host is not insecure for where it redirects to", async () => {
    const registry = await scripted((exchange) => {
      exchange.send(307, { location: `${url}/blob` });
      return true;
    });
    const { client } = open(registry.url, { insecure: true });
    const bytes = randomBytesOf("blob", 10);
    await expect(readAll(client.repository("a/b").get(describeBytes(bytes)), 10)).rejects.toEqual(withCode("tls"));
  });
});

describe("proxies", () => {
  test("plain requests go through the proxy whole, its credentials to nobody else", async () => {
    const seen: { url: string; authorization: string | undefined; host: string | undefined }[] = [];
    const proxy = createHttpServer((request, response) => {
      const { host, "proxy-authorization": authorization } = request.headers;
      seen.push({ url: request.url ?? "", authorization, host });
      response.end();
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    closers.push(() => {
      proxy.closeAllConnections();
      proxy.close();
    });
    const address = `http://user:p%40ss@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const { client } = open("http://reg.example:5000", { insecure: true, env: { HTTP_PROXY: address } });
    await client.ping();
    const authorization = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;
    expect(seen).toEqual([{ url: "http://reg.example:5000/v2/", authorization, host: "reg.example:5000" }]);
  });

  test("requests with TLS go through a tunnel", async () => {
    const tunnels: string[] = [];
    const proxy = createHttpServer();
    const plain = await scripted();
    proxy.on("connect", (request, socket) => {
      tunnels.push(request.url ?? "");
      // Any server will do: that the handshake fails at it shows that the tunnel was used.
      const upstream = connect(Number(plain.host.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(upstream).pipe(socket);
      });
      for (const end of [upstream, socket]) end.on("error", () => {});
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    closers.push(() => {
      proxy.closeAllConnections();
      proxy.close();
    });
    const env = { HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` };
    await expect(open("https://reg.example", { env }).client.ping()).rejects.toEqual(
      expect.objectContaining({ code: expect.stringMatching(/^(tls|unreachable)$/) }),
    );
    expect(tunnels).toEqual(["reg.example:443"]);
  });
});

describe("a registry of this process", () => {
  test("with nothing but fetch is spoken to like any other", async () => {
    const { fetchHandler } = await import("./fetch-handler.js");
    const stored = new Map<string, Uint8Array>();
    const handler = fetchHandler(async (request) => {
      const { pathname, searchParams } = new URL(request.url);
      if (request.method === "POST") return new Response(null, { status: 202, headers: { location: "/up?s=1" } });
      if (request.method === "PUT") {
        stored.set(searchParams.get("digest") ?? "", new Uint8Array(await request.arrayBuffer()));
        return new Response(null, { status: 201 });
      }
      const found = stored.get(pathname.split("/").at(-1) ?? "");
      if (found === undefined) return new Response(null, { status: 404 });
      return new Response(request.method === "HEAD" ? null : Buffer.from(found));
    });
    const { client } = open("http://localhost:5050", { handler });
    const bytes = randomBytesOf("fetch", 100_000);
    const repository = client.repository("a/b");
    expect((await repository.put(describeBytes(bytes), sourceOf(bytes))).outcome).toBe("stored");
    expect(await readAll(repository.get(describeBytes(bytes)), 100_000)).toHaveLength(100_000);
  });

  test("is left when the signal fires, whatever it does", async () => {
    const { client } = open("http://localhost:5050", { handler: () => new Promise(() => {}) });
    await expect(client.ping({ signal: AbortSignal.timeout(5) })).rejects.toEqual(withCode("timeout"));
    const pending = expect(client.ping()).rejects.toEqual(withCode("closed"));
    client.close();
    await pending;
  });
});
