import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { afterEach, beforeEach, expect } from "vitest";
import { openClient, RemoteImage } from "../../src/index.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { Machine, type Outcome } from "../cli/machine.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { imageParts, serveManifest } from "./hostile-image.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
/** Each one is a secret of another kind, and none of them may be seen anywhere but where it belongs. */
const canaries = {
  password: "canary-password-1a2b",
  identity: "canary-identity-3c4d",
  token: "canary-token-5e6f",
  signature: "canary-signature-7a8b",
  proxy: "canary-proxy-9c0d",
  session: "canary-session-1e2f",
} as const;
const basic = Buffer.from(`carol:${canaries.password}`).toString("base64");
const secret = new RegExp([...Object.values(canaries), basic].join("|"));

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.create();
  await machine.putImage("app:1", { layers: 2 });
});
afterEach(async () => {
  await machine.remove();
});

/** A registry that asks for a token, redirects to signed URLs, and has upload sessions that are secrets themselves. */
async function guarded(): Promise<ScriptedRegistry> {
  const registry = await stage.registry();
  registry.handlers.push(
    on("GET", /^\/token/, (exchange) => exchange.send(200, {}, JSON.stringify({ token: canaries.token }))),
    on("POST", /^\/token/, (exchange) =>
      exchange.send(200, {}, JSON.stringify({ access_token: canaries.token, refresh_token: canaries.identity })),
    ),
    on("GET", /^\/signed\//, (exchange) => {
      const bytes = registry.blobs.get(exchange.url.pathname.slice("/signed/".length));
      exchange.send(bytes === undefined ? 403 : 200, {}, bytes ?? `<Error>${canaries.signature}</Error>`);
    }),
    (exchange) => {
      if (exchange.headers.authorization === `Bearer ${canaries.token}`) return false;
      exchange.send(401, { "www-authenticate": `Bearer realm="${registry.url}/token",service="s"` });
      return true;
    },
    on("GET", /\/blobs\/sha256:/, (exchange) => {
      const digest = exchange.target.split("/").at(-1);
      const signed = `${registry.url}/signed/${digest}?X-Amz-Signature=${canaries.signature}&sig=${canaries.signature}`;
      exchange.send(307, { location: signed });
    }),
    on("POST", /\/uploads\/$/, (exchange) => {
      const session = `session-${registry.uploads.size}-${registry.requests.length}`;
      registry.uploads.set(session, Buffer.alloc(0));
      const location = `/v2/a/b/blobs/uploads/${session}?state=critical&_state=${canaries.session}`;
      exchange.send(202, { location });
    }),
  );
  return registry;
}

async function logIn(registry: ScriptedRegistry, entry: object): Promise<void> {
  await mkdir(join(machine.home, ".docker"), { recursive: true });
  const text = JSON.stringify({ auths: { [registry.host]: entry } });
  await writeFile(join(machine.home, ".docker", "config.json"), text, { mode: 0o600 });
}

/** Nothing was printed, and nothing is in any file but Docker's own, and the arguments of no child. */
async function nothingTold(outcomes: readonly Outcome[]): Promise<void> {
  for (const { stdout, stderr } of outcomes) expect(stdout + stderr).not.toMatch(secret);
  for (const entry of await readdir(machine.home, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || path.endsWith(".docker/config.json")) continue;
    expect(await readFile(path, "latin1"), path).not.toMatch(secret);
  }
}

const verbose = ["--debug", "--progress", "plain"];

for (const [what, entry] of [
  ["a password", { auth: basic }],
  ["an identity token", { identitytoken: canaries.identity }],
  ["a finished token", { registrytoken: canaries.token }],
] as const) {
  threat("B3", `${what} and all that comes of it is seen nowhere, in success and in failure`, async () => {
    const registry = await guarded();
    await logIn(registry, entry);
    serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1");
    const env = {
      HTTP_PROXY: `http://user:${canaries.proxy}@127.0.0.1:1`,
      HTTPS_PROXY: `http://user:${canaries.proxy}@127.0.0.1:1`,
    };
    const at = (reference: string) => `${registry.host}/a/b:${reference}`;
    const outcomes: Outcome[] = [];
    const all = async () => {
      for (const args of [
        ["push", "app:1", at("pushed")],
        ["pull", at("v1"), "back:1"],
        ["digest", at("v1")],
        ["inspect", at("v1")],
        ["digest", at("none")],
        ["tags", `${registry.host}/a/b`],
        ["doctor"],
        ["config", "show"],
        // Through a proxy that is not there.
        ["digest", "reg.example/a/b:1", "--timeout", "1s"],
      ]) {
        const form = outcomes.length % 2 === 0 ? verbose : ["--json", "--debug"];
        outcomes.push(await machine.lading([...args, ...form], { env }));
      }
    };
    await all();
    expect(outcomes.slice(0, 4).map(({ code, stderr }) => [code, code === 0 ? "" : stderr])).toEqual(
      Array.from({ length: 4 }, () => [0, ""]),
    );
    // The storage says no, the session breaks, the service answers with what is none of ours.
    registry.blobs.clear();
    for (const name of registry.manifests.keys()) if (name !== "v1") registry.manifests.delete(name);
    registry.handlers.unshift(
      on("PUT", /\/uploads\//, (exchange) =>
        exchange.send(400, {}, JSON.stringify({ errors: [{ code: "X", message: "no" }] })),
      ),
      on("PATCH", /\/uploads\//, (exchange) => exchange.send(400)),
    );
    const before = outcomes.length;
    outcomes.push(await machine.lading(["pull", at("v1"), "again:1", "--store", join(machine.home, "s2"), ...verbose]));
    outcomes.push(await machine.lading(["push", "app:1", at("second"), ...verbose]));
    expect(outcomes.slice(before).map(({ code, stderr }) => (code === 0 ? stderr : "failed"))).toEqual([
      "failed",
      "failed",
    ]);
    registry.handlers.unshift((exchange) => {
      exchange.send(exchange.target.startsWith("/token") ? 403 : 401, {
        "www-authenticate": `Bearer realm="${registry.url}/token",service="s"`,
      });
      return true;
    });
    outcomes.push(await machine.lading(["digest", at("v1"), ...verbose]));
    await nothingTold(outcomes);
    expect(registry.requests.some(({ headers }) => (headers.authorization ?? "").includes(canaries.token))).toBe(true);
  });
}

threat("B3", "a crash tells none, wherever it comes from", async () => {
  const registry = await guarded();
  await logIn(registry, { auth: basic });
  serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1");
  const crash = join(machine.home, "crash.mjs");
  // Each fails in the middle of a request, with all that it was given on the error.
  await writeFile(
    crash,
    `import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
const { request } = http;
let left = Number(process.env.CRASH_AT);
http.request = (...args) => {
  left -= 1;
  if (left !== 0) return request(...args);
  const error = Object.assign(new TypeError("crash"), { args, options: args[1], headers: args[1]?.headers });
  if (process.env.CRASH_HOW === "throw") throw error;
  if (process.env.CRASH_HOW === "uncaught") setImmediate(() => { throw error; });
  if (process.env.CRASH_HOW === "unhandled") Promise.reject(error);
  return request(...args);
};
syncBuiltinESMExports();
`,
  );
  const outcomes: Outcome[] = [];
  for (const how of ["throw", "uncaught", "unhandled"]) {
    for (const at of ["2", "3", "4"]) {
      for (const form of [at === "3" ? ["--json", "--debug"] : verbose]) {
        outcomes.push(
          await machine.lading(
            [
              "pull",
              `${registry.host}/a/b:v1`,
              "back:1",
              "--store",
              join(machine.home, `s${how}${at}${form[0]}`),
              ...form,
            ],
            {
              env: { NODE_OPTIONS: `--import=${pathToFileURL(crash).href}`, CRASH_AT: at, CRASH_HOW: how },
            },
          ),
        );
      }
    }
  }
  expect(outcomes.filter(({ code }) => code === 1).length).toBeGreaterThan(5);
  for (const { stdout, stderr } of outcomes) expect(stdout + stderr).not.toMatch(secret);
});

threat("B3", "an error of the SDK holds none, down to its last cause", async () => {
  const registry = await guarded();
  serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "v1");
  registry.blobs.clear();
  const told: string[] = [];
  const client = await openClient({
    config: { clusters: { main: { registryUrl: registry.url } }, cluster: "main", owner: "alice" },
    engine: "store",
    storePath: machine.store,
    env: { HOME: machine.home },
    fetchCredentials: async () => ({ username: "carol", password: canaries.password }),
    onWarning: (text) => told.push(text),
    onDebug: (text) => told.push(text),
  });
  stage.keep({ close: () => client.close() });
  const errors: unknown[] = [];
  const remote = (tag: string) => RemoteImage.newExternalImage("a/b", registry.host, { tag });
  for (const work of [
    () => client.images.pull(remote("v1")),
    () => client.images.digest(remote("none")),
    () => client.images.push(client.parse.localImage("none:1"), remote("v2")),
  ]) {
    errors.push(await work().catch((error: unknown) => error));
  }
  registry.handlers.unshift(on("GET", /^\/token/, (exchange) => exchange.send(200, {}, canaries.token)));
  registry.handlers.unshift((exchange) => {
    if (exchange.target.startsWith("/token")) return false;
    exchange.send(401, { "www-authenticate": `Bearer realm="${registry.url}/token",service="s"` });
    return true;
  });
  errors.push(await client.images.digest(remote("v1")).catch((error: unknown) => error));
  for (const error of errors) {
    expect(error).toBeInstanceOf(Error);
    expect(`${inspect(error, { depth: 12, showHidden: true })}${JSON.stringify(error)}`).not.toMatch(secret);
  }
  expect(told.length).toBeGreaterThan(0);
  expect(told.join("\n")).not.toMatch(secret);
});

threat("B3", "our own registry logs and answers none", async () => {
  const own = stage.keep(await startOwnRegistry("memory"));
  const answers: string[] = [];
  for (const target of [
    "/v2/",
    "/v2/a/b/manifests/v1",
    `/v2/a/b/tags/list?x=${canaries.signature}`,
    `/v2/a/b/blobs/uploads/?digest=${canaries.session}`,
  ]) {
    for (const method of ["GET", "PUT", "POST", "DELETE"]) {
      const answer = await fetch(`${own.url}${target}`, { method, headers: { authorization: `Basic ${basic}` } });
      answers.push(JSON.stringify([...answer.headers]) + (await answer.text()));
    }
  }
  expect(answers.join("\n")).not.toMatch(secret);
});
