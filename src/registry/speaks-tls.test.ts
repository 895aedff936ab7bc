import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { makeCertificates } from "../../test/support/certificates.js";
import { speaksTls } from "./speaks-tls.js";

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    await new Promise((resolve) => {
      server.close(resolve);
      if ("closeAllConnections" in server) (server as ReturnType<typeof createServer>).closeAllConnections();
    });
  }
});

async function authorityOf(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("speaksTls", () => {
  test("is true for a server whose certificate nobody vouches for", async () => {
    const folder = await mkdtemp(join(tmpdir(), "lading-tls-"));
    try {
      const { serverFolder } = await makeCertificates(folder);
      const [key, cert] = await Promise.all(["key.pem", "cert.pem"].map((name) => readFile(join(serverFolder, name))));
      expect(await speaksTls(await authorityOf(createTlsServer({ key, cert })), { timeout: 5000 })).toBe(true);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("is false for plain http, and no request is made there", async () => {
    let requests = 0;
    const server = createServer((_request, response) => {
      requests += 1;
      response.end();
    });
    expect(await speaksTls(await authorityOf(server), { timeout: 5000 })).toBe(false);
    expect(requests).toBe(0);
  });

  test("is false for a server that is silent, and where there is none", async () => {
    const silent = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.resume();
    });
    const authority = await authorityOf(silent);
    expect(await speaksTls(authority, { timeout: 50 })).toBe(false);
    expect(await speaksTls("127.0.0.1:1", { timeout: 5000 })).toBe(false);
  });
});
