import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
} from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { exportJWK, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, expect } from "vitest";
import { isLadingError } from "../../src/errors.js";
import { LoginLimits } from "../../src/server/accounts/login-limits.js";
import { hashPassword, PasswordChecker } from "../../src/server/accounts/password.js";
import { startCanary } from "../support/canary.js";
import { basic, bearer, type Caller, GuardedRegistry, passwordOf } from "../support/guarded-registry.js";
import { manualClock } from "../support/manual-clock.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { threat } from "./threat.js";

let guarded: GuardedRegistry;
let alice: Caller;
/** A token of hers that is good. */
let good: string;

beforeEach(async () => {
  guarded = new GuardedRegistry();
  ({ alice } = await guarded.users("alice", "bob"));
  good = await guarded.token(alice, "repository:alice/app:pull,push,delete");
});
afterEach(async () => {
  await guarded.close();
  expect(guarded.errors).toEqual([]);
});

const parts = (token: string) =>
  token
    .split(".")
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, "base64url").toString() || "{}") as Record<string, unknown>);
const statusOf = async (token: string, path = "/v2/alice/app/tags/list") =>
  (await guarded.ask("GET", path, { as: bearer(token) })).status;
/** The repository is empty: 404 says that the token was taken, 401 that it was not. */
const taken = 404;

threat("D18", "a token's own header brings no key: embedded, linked or certified", async () => {
  const canary = await startCanary();
  try {
    expect(await statusOf(good)).toBe(taken);
    const [header = {}, claims = {}] = parts(good);
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const jwk = await exportJWK(publicKey);
    const headers = [
      ...[header.kid, randomUUID(), undefined].map((kid) => ({ kid, jwk })),
      { kid: header.kid, jku: `http://${canary.host}/keys.json` },
      { kid: header.kid, x5u: `http://${canary.host}/cert.pem` },
      { kid: header.kid, x5c: [publicKey.export({ format: "der", type: "spki" }).toString("base64")] },
      { kid: "../../auth/registry/signing-keys" },
    ];
    for (const more of headers) {
      const given = JSON.parse(JSON.stringify({ alg: "ES256", typ: "JWT", ...more })) as { alg: string };
      const forged = await new SignJWT(claims).setProtectedHeader(given).sign(privateKey);
      expect(await statusOf(forged), JSON.stringify(more)).toBe(401);
    }
    expect(canary.connections).toBe(0);
  } finally {
    await canary.close();
  }
});

threat("D19", "one algorithm, our issuer, our audience, our time, our repository", async () => {
  await guarded.close();
  const directory = await temporaryFolder({ memory: true });
  guarded = new GuardedRegistry({ storage: { directory } });
  await guarded.users("alice", "bob");
  alice = basic("alice", passwordOf("alice"));
  good = await guarded.token(alice, "repository:alice/app:pull,push,delete");
  const [header = {}, claims = {}] = parts(good);
  const { kid } = header as { kid: string };
  const { privateKey, publicKey } = await signingKey(directory);
  const sign = (change: Record<string, unknown>, key: KeyObject = privateKey, alg = "ES256") =>
    new SignJWT(JSON.parse(JSON.stringify({ ...claims, ...change })) as Record<string, unknown>)
      .setProtectedHeader({ alg, typ: "JWT", kid })
      .sign(key);
  // what is signed with the right key is taken: the refusals below have their reason in the change alone
  expect(await statusOf(await sign({}))).toBe(taken);
  const now = Math.floor(guarded.clock.now() / 1000);
  const changes = {
    "another issuer": { iss: "lading-other" },
    "another audience": { aud: "lading-other" },
    "a past end": { exp: now - 60 },
    "a beginning to come": { nbf: now + 60 },
    "no end": { exp: undefined },
    "no beginning": { nbf: undefined },
    "no subject": { sub: undefined },
    "another generation": { generation: 7 },
    "another user's name": { name: "bob" },
    "an id that nobody has": { id: randomUUID() },
  };
  for (const [what, change] of Object.entries(changes)) expect(await statusOf(await sign(change)), what).toBe(401);
  expect(await statusOf(new UnsecuredJWT(claims).encode()), "alg none").toBe(401);
  const unsigned = `${Buffer.from(JSON.stringify({ alg: "none", typ: "JWT", kid })).toString("base64url")}.${good.split(".")[1]}.x`;
  expect(await statusOf(unsigned), "alg none with a signature").toBe(401);
  const pem = publicKey.export({ format: "pem", type: "spki" });
  for (const secret of [pem, Buffer.from(JSON.stringify(await exportJWK(publicKey)))]) {
    const head = `${Buffer.from(JSON.stringify({ alg: "HS256", typ: "JWT", kid })).toString("base64url")}.${good.split(".")[1]}`;
    const mac = createHmac("sha256", secret).update(head).digest("base64url");
    expect(await statusOf(`${head}.${mac}`), "HS256 with the public key").toBe(401);
  }
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  expect(await statusOf(await sign({}, rsa.privateKey, "RS256")), "RS256").toBe(401);
  // a good token elsewhere: told what it lacks, or that nothing is there
  expect(await statusOf(good, "/v2/bob/app/tags/list")).toBe(404);
  expect(await statusOf(await guarded.token(alice, "repository:alice/other:pull"))).toBe(401);
  const foreign = new GuardedRegistry();
  try {
    await foreign.users("alice");
    expect((await foreign.ask("GET", "/v2/", { as: bearer(good) })).status).toBe(401);
  } finally {
    await foreign.close();
  }
  guarded.clock.advance(16 * 60_000);
  expect(await statusOf(good)).toBe(401);
});

/** The key that a registry signs with, out of its folder. */
async function signingKey(directory: string): Promise<{ privateKey: KeyObject; publicKey: KeyObject }> {
  const text = await readFile(join(directory, "auth", "registry", "signing-keys"), "utf8");
  const [key] = (JSON.parse(text) as { readonly keys: readonly { readonly jwk: JsonWebKey }[] }).keys;
  const privateKey = createPrivateKey({ key: key?.jwk as JsonWebKey, format: "jwk" });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

threat("D20", "what is no token costs nothing: dots, segments, encrypted and compressed ones", async () => {
  const [header = {}] = parts(good);
  const encrypted = Buffer.from(JSON.stringify({ alg: "dir", enc: "A256GCM", zip: "DEF", kid: header.kid })).toString(
    "base64url",
  );
  const texts = [
    ".".repeat(1_000_000),
    "a.".repeat(500_000),
    `${encrypted}.a.b.c.d`,
    `${encrypted}..`,
    `${"A".repeat(20_000)}.b.c`,
    "a.b",
    "..",
    "",
  ];
  for (const text of texts) {
    expect(await statusOf(text), text.slice(0, 20)).toBe(401);
  }
});

threat("D21", "an unknown user costs what a known one does, and looks the same", async () => {
  const hash = await hashPassword("alices-password");
  let calls = 0;
  const checker = new PasswordChecker(Date.now, async (_password, against) => {
    calls += 1;
    return against === hash && _password === "alices-password";
  });
  const counted = async (password: string, against: string | null) => {
    const before = calls;
    const right = await checker.check(password, against);
    return { right, hashes: calls - before };
  };
  expect(await counted("wrong-password", hash)).toEqual({ right: false, hashes: 1 });
  expect(await counted("wrong-password", null)).toEqual({ right: false, hashes: 1 });
  expect(await counted("x".repeat(73), hash)).toEqual({ right: false, hashes: 1 });
  expect(await counted("alices-password", hash)).toEqual({ right: true, hashes: 1 });

  const tries = [basic("alice", "wrong-password"), basic("nobody", "wrong-password"), basic("bob", "")];
  const answers = await Promise.all(
    tries.map(async (as) => {
      const [login, ping] = [await guarded.ask("GET", "/auth/token", { as }), await guarded.ask("GET", "/v2/", { as })];
      return [login.status, login.text, ping.status, ping.text, ping.headers["www-authenticate"]];
    }),
  );
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[2]).toEqual(answers[0]);
  expect(answers[0]?.[0]).toBe(401);
});

threat("D22", "hundreds of logins at once stall nothing, and passwords have their bounds", async () => {
  const accounts = await guarded.registry.accounts();
  for (const password of ["x".repeat(73), "ü".repeat(37), "short", ""]) {
    const error = await accounts.users.set("alice", { password }).catch((thrown: unknown) => thrown);
    expect(isLadingError(error) && error.code, password).toBe("usage");
  }
  await accounts.users.set("alice", { password: "ü".repeat(36) });
  const again = basic("alice", "ü".repeat(36));
  expect((await guarded.ask("GET", "/auth/token", { as: again })).status).toBe(200);
  // two at once, the others in a queue that ends
  let running = 0;
  let most = 0;
  const release: (() => void)[] = [];
  const checker = new PasswordChecker(guarded.clock.now, async () => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => release.push(resolve));
    running -= 1;
    return false;
  });
  const checks = Array.from({ length: 200 }, (_, at) => checker.check(`password ${at}`, "a hash"));
  const outcomes = Promise.all(checks);
  for (let done = false; !done; ) {
    for (const next of release.splice(0)) next();
    done = await Promise.race([
      outcomes.then(() => true),
      new Promise<false>((resolve) => setImmediate(resolve, false)),
    ]);
  }
  expect(most).toBe(2);
  const refused = (await outcomes).filter((outcome) => outcome === "busy").length;
  expect(refused).toBeGreaterThan(100);
  expect(refused).toBeLessThan(200);

  const token = await guarded.token(again, "repository:alice/app:pull");
  let served = 0;
  let over = false;
  const logins = Promise.all(
    Array.from({ length: 12 }, (_, at) =>
      guarded.ask("GET", "/auth/token", { as: basic(`user${at}`, "some-password"), address: `198.51.100.${at}` }),
    ),
  ).finally(() => {
    over = true;
  });
  while (!over) {
    expect(await statusOf(token)).toBe(taken);
    served += 1;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(new Set((await logins).map(({ status }) => status))).toEqual(new Set([401]));
  expect(served).toBeGreaterThan(12);
});

threat("D21", "who guesses waits longer each time, by account and by address, and knows no more for it", async () => {
  const as = basic("alice", "wrong-password");
  const login = (caller: Caller, address: string) => guarded.ask("GET", "/auth/token", { as: caller, address });
  let refused = 0;
  for (let at = 0; at < 60; at++) {
    const { status } = await login(as, `203.0.113.${at}`);
    if (status === 429) refused += 1;
    else expect(status).toBe(401);
  }
  expect(refused).toBeGreaterThan(40);
  // even the right password waits, or a guess could be told by its answer
  expect((await login(basic("alice", passwordOf("alice")), "203.0.113.250")).status).toBe(429);
  // a key is no guess
  expect((await login(alice, "203.0.113.1")).status).toBe(200);
  expect((await login(basic("bob", passwordOf("bob")), "203.0.113.1")).status).toBe(200);
  guarded.clock.advance(30_000);
  expect((await login(basic("alice", passwordOf("alice")), "203.0.113.250")).status).toBe(200);

  const clock = manualClock();
  const bounds = new LoginLimits(clock.now);
  for (let at = 0; at < 30; at++) bounds.failed("192.0.2.9", `name${at}`);
  expect(bounds.wait("192.0.2.9", "fresh")).toBe(512_000);
  expect(bounds.wait("192.0.2.10", "fresh")).toBe(0);
  for (let at = 0; at < 30; at++) bounds.failed("192.0.2.9", null);
  expect(bounds.wait("192.0.2.9", null)).toBe(15 * 60_000);
  // whoever has one IPv6 address has all of its network
  for (let at = 0; at < 30; at++) bounds.failed(`2001:db8::${at}`, null);
  expect(bounds.wait("2001:db8::ffff:1", null)).toBe(512_000);
  expect(bounds.wait("2001:db8:0:0:1:2:3:4", null)).toBe(512_000);
  expect(bounds.wait("2001:db8:0:1::1", null)).toBe(0);
  for (let at = 0; at < 20_000; at++) bounds.failed(`2001:db8:1:${at.toString(16)}::1`, null);
  expect(bounds.wait("192.0.2.9", null)).toBe(0);
});
