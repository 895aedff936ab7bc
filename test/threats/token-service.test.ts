import { expect } from "vitest";
import { readAll } from "../../src/content/verify.js";
import type { Credential } from "../../src/oci/credential.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { type Handler, on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { describeBytes, withCode } from "../support/store-contract.js";
import { basic, secrets, useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const asCarol = { fetchCredentials: async () => secrets };
const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }));

/** Everything under `/v2/` wants this bearer token; the token service is at `realm`. */
const wants = (token: string, realm: string, more = ""): Handler =>
  function bearer(exchange) {
    if (!exchange.target.startsWith("/v2/") || exchange.headers.authorization === `Bearer ${token}`) return false;
    exchange.send(401, { "www-authenticate": `Bearer realm="${realm}",service="s"${more}` });
    return true;
  };
const tokens = (token: string): Handler =>
  function tokenService(exchange) {
    if (!exchange.target.startsWith("/token")) return false;
    exchange.send(200, {}, JSON.stringify({ token }));
    return true;
  };
const tokenRequests = (registry: ScriptedRegistry) =>
  registry.requests.filter(({ target }) => target.startsWith("/token"));

threat(
  "A4",
  "a token service elsewhere gets the credentials of the registry that lists it, and no others'",
  async () => {
    for (const credential of [secrets, { identityToken: secrets.password }] as readonly Credential[]) {
      const bodies: string[] = [];
      const service = await stage.registry(async (exchange) => {
        bodies.push((await exchange.body()).toString());
        return false;
      }, tokens("anonymous"));
      const proof = { fetchCredentials: async () => credential };
      const seen = (from = 0) => JSON.stringify([service.requests.slice(from), bodies]);
      const secret = /authorization|account=|refresh_token|canary-7f3a|carol/i;

      // Marked insecure it may be asked, which says nothing about whose credentials it may have.
      const a = await stage.registry(wants("right", `${service.url}/token`));
      const asked = stage.client(a.url, { ...proof, insecureHosts: [service.host] });
      await expect(asked.client.ping()).rejects.toMatchObject({
        code: "unauthorized",
        hint: expect.stringContaining(`authHosts = ["${service.host}"]`),
      });
      expect(asked.warnings).toEqual([expect.stringContaining(`authHosts = ["${service.host}"]`)]);
      expect(service.requests.length).toBeGreaterThan(0);
      expect(seen()).not.toMatch(secret);

      const b = await stage.registry(wants("anonymous", `${service.url}/token`));
      await stage.client(b.url, { ...proof, authHosts: [service.host] }).client.ping();
      expect(seen()).toMatch(secret);

      // The pair is registry and service: what one of them allows is none of another's.
      const before = service.requests.length;
      bodies.length = 0;
      const c = await stage.registry(wants("anonymous", `${service.url}/token`));
      await expect(stage.client(c.url, proof).client.ping()).rejects.toEqual(withCode("unsafe-url"));
      expect(service.requests).toHaveLength(before);
      await stage.client(c.url, { ...proof, insecureHosts: [service.host] }).client.ping();
      expect(service.requests.length).toBeGreaterThan(before);
      expect(seen(before)).not.toMatch(secret);
    }
  },
);

const oddAnswers: readonly (readonly [string, string, "unauthorized" | "limit-exceeded"])[] = [
  ["no JSON", `<html>${secrets.password}</html>`, "unauthorized"],
  ["no token", JSON.stringify({ secret: secrets.password }), "unauthorized"],
  ["a token that would add a header", JSON.stringify({ token: `a\r\nx: ${secrets.password}` }), "unauthorized"],
  ["a token that is no text", JSON.stringify({ token: 7, secret: secrets.password }), "unauthorized"],
  ["a token longer than a header may be", JSON.stringify({ token: "x".repeat(17_000) }), "unauthorized"],
  ["five million bytes", secrets.password.repeat(250_000), "limit-exceeded"],
];
for (const [what, body, code] of oddAnswers) {
  threat("A8", `a token answer with ${what} is refused, and quoted nowhere`, async () => {
    for (const status of [200, 403, 500]) {
      const debug: string[] = [];
      const registry = await stage.registry();
      registry.handlers.push(
        on("GET", /^\/token/, (exchange) => exchange.send(status, {}, body)),
        wants("right", `${registry.url}/token`),
      );
      const made = stage.client(registry.url, { onDebug: (line) => debug.push(line) });
      const error: unknown = await made.client.ping().catch((reason: unknown) => reason);
      if (status === 200) expect(error).toEqual(withCode(code));
      else expect(error).toMatchObject({ code: status === 403 ? "denied" : "unreachable" });
      const { stack, cause } = error as Error;
      const said = JSON.stringify([error, String(error), stack, String(cause), debug, made.warnings]);
      expect(said).not.toContain(secrets.password);
      // Nothing of the answer became a header of a later request.
      for (const { headers } of registry.requests) expect(headers).not.toHaveProperty("x");
    }
  });
}

threat("A9", "values of a challenge add no parameters of their own", async () => {
  const registry = await stage.registry(tokens("right"));
  const service = "x&account=admin#";
  registry.handlers.push((exchange) => {
    if (exchange.headers.authorization === "Bearer right") return false;
    const realm = `${registry.url}/token?of=here#fragment`;
    exchange.send(401, { "www-authenticate": `Bearer realm="${realm}",service="${service}",scope="a:b:c&x=y"` });
    return true;
  });
  registry.manifests.set("v1", { type: mediaTypes.ociIndex, bytes: index });
  await stage.client(registry.url).client.repository("a/b").manifest("v1");
  const asked = tokenRequests(registry).map(({ target }) => [...new URL(target, registry.url).searchParams]);
  expect(asked).toEqual([
    [
      ["of", "here"],
      ["service", service],
      ["scope", "repository:a/b:pull"],
    ],
  ]);
});

threat("A10", "a challenge that asks for more is not obeyed", async () => {
  const registry = await stage.registry(tokens("right"));
  registry.handlers.push(wants("right", `${registry.url}/token`, ',scope="repository:other:pull,push"'));
  registry.manifests.set("v1", { type: mediaTypes.ociIndex, bytes: index });
  await stage.client(registry.url, asCarol).client.repository("a/b").manifest("v1");
  expect(tokenRequests(registry).map(({ target }) => target)).toEqual([
    "/token?service=s&scope=repository%3Aa%2Fb%3Apull",
  ]);
});

threat("A10", "two tenants of one client never share a token, not even a refusal", async () => {
  const registry = await stage.registry(
    on("GET", /^\/token/, (exchange) => {
      const known = exchange.headers.authorization === basic;
      exchange.send(known ? 200 : 401, {}, JSON.stringify({ token: "carols" }));
    }),
  );
  registry.handlers.push(wants("carols", `${registry.url}/token`));
  registry.manifests.set("v1", { type: mediaTypes.ociIndex, bytes: index });
  const { client } = stage.client(registry.url);
  const hers = client.repository("a/b", asCarol);
  const his = client.repository("a/b", { fetchCredentials: async () => ({ username: "bob", password: "other" }) });
  const nobodys = client.repository("a/b");
  await expect(his.manifest("v1")).rejects.toEqual(withCode("unauthorized"));
  await hers.manifest("v1");
  await expect(his.manifest("v1")).rejects.toEqual(withCode("unauthorized"));
  await expect(nobodys.manifest("v1")).rejects.toEqual(withCode("unauthorized"));
  await hers.manifest("v1");
  // Bob's refusal is remembered: he does not ask again at once.
  expect(tokenRequests(registry)).toHaveLength(3);
});

threat("A12", "a challenge from where a redirect led is not answered, nor gets a token", async () => {
  const blob = Buffer.from(randomBytesOf("harvest", 1000));
  const descriptor = describeBytes(blob);
  const registry = await stage.registry(tokens("carols"));
  const storage = await stage.registry((exchange) => {
    // Its own token service, and the registry's: both would hand the token over.
    const realm = exchange.target.includes("own") ? `http://${exchange.headers.host}/token` : `${registry.url}/token`;
    exchange.send(401, { "www-authenticate": `Bearer realm="${realm}",service="s"` });
    return true;
  });
  registry.handlers.push(
    wants("carols", `${registry.url}/token`),
    on("GET", /\/blobs\//, (exchange) => exchange.send(307, { location: `${storage.url}/own` }), 2),
    on("GET", /\/blobs\//, (exchange) => exchange.send(307, { location: `${storage.url}/other` })),
  );
  for (const fetchCredentials of [asCarol.fetchCredentials, async () => ({ registryToken: "carols" }) as const]) {
    const { client } = stage.client(registry.url, { fetchCredentials });
    await expect(readAll(client.repository("a/b").get(descriptor), 1000)).rejects.toEqual(withCode("unauthorized"));
  }
  expect(storage.requests.length).toBeGreaterThan(0);
  expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual(storage.requests.map(() => undefined));
  expect(tokenRequests(storage)).toEqual([]);
});
