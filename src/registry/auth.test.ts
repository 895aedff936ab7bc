import { afterEach, describe, expect, test } from "vitest";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { testClient } from "../../test/support/registry-client.js";
import {
  type Exchange,
  type Handler,
  on,
  type ScriptedRegistry,
  startScriptedRegistry,
} from "../../test/support/scripted-registry.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import type { Credential, CredentialRequest } from "../oci/credential.js";
import { mediaTypes } from "../oci/media-types.js";
import type { RegistryClient } from "./client.js";

const started: ScriptedRegistry[] = [];
const clients: RegistryClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const registry of started.splice(0)) await registry.close();
});

async function start(...handlers: Handler[]): Promise<ScriptedRegistry> {
  const registry = await startScriptedRegistry(...handlers);
  started.push(registry);
  return registry;
}

function connect(...args: Parameters<typeof testClient>) {
  const made = testClient(...args);
  clients.push(made.client);
  return made;
}

const alice: Credential = { username: "alice", password: "secret:with:colons" };
const basic = ({ username, password }: { username: string; password: string }) =>
  `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;

/** Everything under /v2/ wants the bearer token that `valid` accepts; the realm is on the same host. */
function bearer(
  registry: { host: string },
  valid: (token: string, exchange: Exchange) => boolean,
  challenge: (exchange: Exchange) => string = () => "",
): Handler {
  return (exchange) => {
    if (!exchange.target.startsWith("/v2/")) return false;
    const token = /^Bearer (.*)$/.exec(exchange.headers.authorization ?? "")?.[1];
    if (token !== undefined && valid(token, exchange)) return false;
    exchange.send(401, {
      "www-authenticate": `Bearer realm="http://${registry.host}/token",service="test"${challenge(exchange)}`,
    });
    return true;
  };
}

const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }));

async function withManifest(registry: ScriptedRegistry): Promise<void> {
  registry.manifests.set("v1", { type: mediaTypes.ociIndex, bytes: manifest });
}

const tokenRequests = (registry: ScriptedRegistry) =>
  registry.requests.filter(({ target }) => target.startsWith("/token"));

describe("Basic", () => {
  test("is sent after the challenge, and at once from then on", async () => {
    const registry = await start((exchange) => {
      if (exchange.headers.authorization === basic(alice)) return false;
      exchange.send(401, { "www-authenticate": 'Basic realm="x"' });
      return true;
    });
    await withManifest(registry);
    const asked: CredentialRequest[] = [];
    const { client } = connect(registry.url, {
      fetchCredentials: async (request) => {
        asked.push(request);
        return alice;
      },
    });
    const repository = client.repository("a/b", { side: "source" });
    await repository.manifest("v1");
    await repository.manifest("v1");
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      basic(alice),
      basic(alice),
    ]);
    expect(asked).toEqual([
      {
        registry: registry.host,
        repository: "a/b",
        actions: ["pull"],
        side: "source",
        signal: expect.any(AbortSignal),
      },
    ]);
  });

  test("nobody is asked while the registry asks for nothing", async () => {
    const registry = await start();
    const { client } = connect(registry.url, {
      fetchCredentials: () => Promise.reject(new Error("must not be asked")),
    });
    await client.ping();
  });

  test("a wrong password is unauthorized, and asked for again the next time", async () => {
    const registry = await start((exchange) => {
      exchange.send(401, { "www-authenticate": 'Basic realm="x"' });
      return true;
    });
    let asked = 0;
    const { client } = connect(registry.url, {
      fetchCredentials: async () => {
        asked += 1;
        return alice;
      },
    });
    const error = withCode("unauthorized");
    await expect(client.ping()).rejects.toEqual(error);
    expect(registry.requests).toHaveLength(2);
    await expect(client.ping()).rejects.toEqual(error);
    expect(asked).toBe(2);
  });

  test("a callback that fails is callback-failed", async () => {
    const registry = await start((exchange) => {
      exchange.send(401, { "www-authenticate": 'Basic realm="x"' });
      return true;
    });
    const { client } = connect(registry.url, { fetchCredentials: () => Promise.reject(new Error("no vault")) });
    await expect(client.ping()).rejects.toEqual(withCode("callback-failed"));
  });
});

describe("Bearer", () => {
  test("asks for the scopes that Lading computed, with Basic, and keeps the token", async () => {
    const registry = await start();
    registry.handlers.push(
      on("GET", /^\/token/, (exchange) => {
        expect(exchange.headers.authorization).toBe(basic(alice));
        expect([...exchange.url.searchParams]).toEqual([
          ["service", "test"],
          ["scope", "repository:a/b:pull"],
        ]);
        exchange.send(200, {}, JSON.stringify({ access_token: "good" }));
      }),
      // A challenge that asks for more than was wanted is not obeyed.
      bearer(
        registry,
        (token) => token === "good",
        () => ',scope="repository:other:pull,push"',
      ),
    );
    await withManifest(registry);
    const { client } = connect(registry.url, { fetchCredentials: async () => alice });
    const repository = client.repository("a/b");
    await repository.manifest("v1");
    await repository.manifest("v1");
    expect(tokenRequests(registry)).toHaveLength(1);
    expect(registry.requests).toHaveLength(4);
  });

  test("a push asks for a mount's source too, its own repository first", async () => {
    const registry = await start();
    const scopes: string[][] = [];
    registry.handlers.push(
      on("GET", /^\/token/, (exchange) => {
        scopes.push(exchange.url.searchParams.getAll("scope"));
        exchange.send(200, {}, JSON.stringify({ token: `t${scopes.length}` }));
      }),
      bearer(registry, () => true),
      on("POST", /mount=/, (exchange) => exchange.send(201)),
    );
    const { client } = connect(registry.url, { fetchCredentials: async () => alice });
    const bytes = randomBytesOf("mounted", 10);
    const repository = client.repository("a/b", { side: "destination" });
    const result = await repository.put(describeBytes(bytes), sourceOf(bytes), { mountFrom: ["c/d"] });
    expect(result.outcome).toBe("mounted");
    expect(scopes).toEqual([["repository:a/b:pull,push"], ["repository:a/b:pull,push", "repository:c/d:pull"]]);
  });

  test("a token service that refuses a mount's source leaves the upload", async () => {
    const registry = await start();
    registry.handlers.push(
      on("GET", /^\/token.*c%2Fd/, (exchange) => exchange.send(403)),
      on("GET", /^\/token/, (exchange) => exchange.send(200, {}, JSON.stringify({ token: "t" }))),
      bearer(registry, () => true),
    );
    const { client } = connect(registry.url, { fetchCredentials: async () => alice });
    const bytes = randomBytesOf("unmountable", 10);
    const repository = client.repository("a/b");
    const result = await repository.put(describeBytes(bytes), sourceOf(bytes), { mountFrom: ["c/d"] });
    expect(result.outcome).toBe("stored");
  });

  test("a token service that is down is asked five times, and not five times for each try of the request", async () => {
    const registry = await start();
    registry.handlers.push(
      on("GET", /^\/token/, (exchange) => exchange.send(503)),
      bearer(registry, () => true),
    );
    const { client } = connect(registry.url, { fetchCredentials: async () => alice });
    await expect(client.repository("a/b").manifest("v1")).rejects.toEqual(withCode("unreachable"));
    expect(registry.log.filter((line) => line.startsWith("GET /token"))).toHaveLength(5);
  });

  test("a token service that wants to be left alone for long ends the request at once, with the time", async () => {
    const registry = await start();
    registry.handlers.push(
      on("GET", /^\/token/, (exchange) => exchange.send(429, { "retry-after": "7200" })),
      bearer(registry, () => true),
    );
    const { client, clock } = connect(registry.url, { fetchCredentials: async () => alice });
    const error = await client
      .repository("a/b")
      .manifest("v1")
      .catch((reason) => reason);
    expect(error).toEqual(withCode("rate-limited"));
    expect(error.message).toContain("2 h");
    expect(clock.waits).toEqual([]);
  });

  test("tokens are renewed before their end, and anew after a 401, once for all who wait", async () => {
    const registry = await start();
    let issued = 0;
    let revoked = 0;
    registry.handlers.push(
      on("GET", /^\/token/, (exchange) => {
        issued += 1;
        exchange.send(200, {}, JSON.stringify({ token: `t${issued}`, expires_in: 300 }));
      }),
      bearer(registry, (token) => Number(token.slice(1)) > revoked),
    );
    await withManifest(registry);
    const { client, clock } = connect(registry.url, { fetchCredentials: async () => alice });
    const repository = client.repository("a/b");
    const eight = () => Promise.all(Array.from({ length: 8 }, () => repository.manifest("v1")));
    await eight();
    expect(issued).toBe(1);
    clock.advance(260_000);
    await eight();
    expect(issued).toBe(1);
    clock.advance(15_000);
    await eight();
    expect(issued).toBe(2);
    revoked = 2;
    await eight();
    expect(issued).toBe(3);
  });

  test("a second 401 is the answer", async () => {
    const registry = await start();
    registry.handlers.push(
      on("GET", /^\/token/, (exchange) => exchange.send(200, {}, JSON.stringify({ token: "useless" }))),
      bearer(registry, () => false),
    );
    const { client } = connect(registry.url, { fetchCredentials: async () => alice });
    await expect(client.ping()).rejects.toEqual(withCode("unauthorized"));
    expect(registry.requests).toHaveLength(3);
  });

  test("an identity token goes by POST, and by GET where the service knows no POST", async () => {
    const registry = await start();
    const forms: string[] = [];
    let post = 200;
    registry.handlers.push(
      on("POST", /^\/token/, async (exchange) => {
        forms.push((await exchange.body()).toString());
        exchange.send(post, {}, JSON.stringify({ access_token: "good" }));
      }),
      on("GET", /^\/token/, (exchange) => {
        expect(exchange.headers.authorization).toBe(basic({ username: "<token>", password: "refresh" }));
        exchange.send(200, {}, JSON.stringify({ token: "good" }));
      }),
      bearer(registry, (token) => token === "good"),
    );
    await withManifest(registry);
    const fetchCredentials = async () => ({ identityToken: "refresh" });
    await connect(registry.url, { fetchCredentials }).client.repository("a/b").manifest("v1");
    expect(Object.fromEntries(new URLSearchParams(forms[0]))).toEqual({
      grant_type: "refresh_token",
      client_id: "lading",
      refresh_token: "refresh",
      service: "test",
      scope: "repository:a/b:pull",
    });
    expect(tokenRequests(registry)).toHaveLength(1);
    post = 404;
    await connect(registry.url, { fetchCredentials }).client.repository("a/b").manifest("v1");
    expect(tokenRequests(registry)).toHaveLength(3);
  });

  test("a registry token is sent as it is", async () => {
    const registry = await start();
    registry.handlers.push(bearer(registry, (token) => token === "finished"));
    await connect(registry.url, { fetchCredentials: async () => ({ registryToken: "finished" }) }).client.ping();
    expect(tokenRequests(registry)).toEqual([]);
  });
});
