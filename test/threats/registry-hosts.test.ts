import { readdir, readFile, stat } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import { isLadingError } from "../../src/errors.js";
import {
  type AccountDecision,
  createRegistry,
  type ListenOptions,
  listen,
  type RegistryOptions,
} from "../../src/server/index.js";
import { basic, GuardedRegistry } from "../support/guarded-registry.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const decisions: AccountDecision[] = [];
afterEach(() => {
  decisions.length = 0;
});

/** A registry with accounts on a port, with alice in it. */
async function serve(options: ListenOptions = {}, registryOptions: Partial<RegistryOptions> = {}) {
  const guarded = stage.keep(new GuardedRegistry({ ...registryOptions, accounts: registryOptions.accounts ?? true }));
  const { alice } = await guarded.users("alice");
  const server = await listen(guarded.registry, { host: "127.0.0.1", port: 0, ...options });
  stage.keep({ close: () => server.close(0) });
  return { guarded, alice, port: Number(new URL(server.url).port) };
}

interface Heard {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** By hand, so that Host, the request line and all headers are what the test says. */
function ask(port: number, path: string, headers: Record<string, string>, method = "GET"): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, path, method, headers, setHost: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

threat(
  "D23",
  "no account is there by default, and the first password is in one file for one user, and in no log",
  async () => {
    const directory = await temporaryFolder();
    const registry = stage.keep(
      createRegistry({ storage: { directory }, accounts: { onDecision: (one) => decisions.push(one) } }),
    );
    const tries = ["admin:admin", "admin:password", "admin:Harbor12345", "root:root", "lading:lading", ":", "admin:"];
    for (const pair of tries) {
      const authorization = `Basic ${Buffer.from(pair).toString("base64")}`;
      const response = await registry.handle({ method: "GET", url: "/auth/token", headers: { authorization } });
      expect(response.status, pair).toBe(401);
    }
    expect(await readdir(directory).catch(() => [])).not.toContain("auth");
    const { user, password } = await registry.initAccounts("admin", { keepPassword: true });
    expect(Buffer.from(password, "base64url").length).toBeGreaterThanOrEqual(15);
    const again = await registry.initAccounts("second").catch((error: unknown) => error);
    expect(isLadingError(again) && again.code).toBe("conflict");

    const asAdmin = basic(user, password);
    const response = await registry.handle({ method: "GET", url: "/auth/token", headers: { ...asAdmin } });
    expect(response.status).toBe(200);
    const holding: string[] = [];
    for (const name of await readdir(directory, { recursive: true })) {
      const path = join(directory, name);
      const found = await stat(path);
      if (!found.isFile()) continue;
      if ((await readFile(path, "utf8")).includes(password)) holding.push(name);
      // hashes and keys are nobody else's either
      if (name.startsWith("auth")) expect(found.mode & 0o077, name).toBe(0);
    }
    expect(holding).toEqual([join("auth", "registry", "first-password")]);
    expect(JSON.stringify(decisions)).not.toContain(password);
    await (await registry.accounts()).users.set("admin", { password: "a better password" });
    expect(await readdir(join(directory, "auth", "registry"))).not.toContain("first-password");
  },
);

threat("D23", "a password that was made up ends after a day", async () => {
  const { guarded } = await serve();
  const { newPassword } = await (await guarded.registry.accounts()).users.add({ name: "carol" });
  const carol = basic("carol", newPassword ?? "");
  expect((await guarded.ask("GET", "/auth/token", { as: carol })).status).toBe(200);
  guarded.clock.advance(24 * 60 * 60_000);
  expect((await guarded.ask("GET", "/auth/token", { as: carol })).status).toBe(401);
});

threat("D24", "headers name nobody: not the user, the scheme, nor the address that is counted and logged", async () => {
  const { guarded, port } = await serve();
  const host = `127.0.0.1:${port}`;
  const spoofed = {
    host,
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.example",
    "x-real-ip": "203.0.113.7",
    forwarded: "for=203.0.113.7;proto=https;host=evil.example",
    "x-forwarded-user": "alice",
    "x-remote-user": "alice",
    "remote-user": "alice",
  };
  const answer = await ask(port, "/v2/", spoofed);
  expect(answer.status).toBe(401);
  expect(answer.headers["www-authenticate"]).toContain(`realm="http://${host}/auth/token"`);
  expect(JSON.stringify(answer)).not.toMatch(/evil|203\.0\.113/);
  // each says another address: it is one all the same that is slowed down
  const statuses: number[] = [];
  for (let at = 0; at < 25; at++) {
    // keys that nobody has: they cost no hash
    const key = `lading_${String(at).padStart(16, "0")}_${"A".repeat(43)}`;
    const authorization = `Bearer ${key}`;
    const headers = { ...spoofed, "x-forwarded-for": `203.0.113.${at}`, authorization };
    statuses.push((await ask(port, "/auth/token", headers)).status);
  }
  expect(statuses.at(-1)).toBe(429);
  expect(new Set(guarded.decisions.map(({ address }) => address))).toEqual(new Set(["127.0.0.1"]));
});

threat("D24", "a proxy that is trusted speaks for its clients, and for nobody before them", async () => {
  const { guarded, port } = await serve({ trustedProxies: ["127.0.0.1", "10.0.0.1"] });
  const host = `127.0.0.1:${port}`;
  // the client made up the first; our two proxies added the others
  const forwarded = { host, "x-forwarded-for": "1.2.3.4, 203.0.113.7, 10.0.0.1", "x-forwarded-proto": "https" };
  const answer = await ask(port, "/v2/", forwarded);
  expect(answer.headers["www-authenticate"]).toContain(`realm="https://${host}/auth/token"`);
  expect(guarded.decisions.at(-1)?.address).toBe("203.0.113.7");
  await ask(port, "/v2/", { host, "x-forwarded-for": "no address, <script>" });
  expect(guarded.decisions.at(-1)?.address).toBe("127.0.0.1");
});

threat("D25", "a Host that is not ours gets nowhere, and a whole URL in the request line changes nothing", async () => {
  const { alice, port } = await serve();
  const host = `127.0.0.1:${port}`;
  for (const other of [
    "evil.example",
    `evil.example:${port}`,
    "127.0.0.1.evil.example",
    "evil.example#127.0.0.1",
    "",
  ]) {
    expect((await ask(port, "/v2/", { host: other })).status, other).toBe(421);
  }
  const absolute = await ask(port, "http://evil.example/v2/alice/app/tags/list", { host });
  expect(absolute.status).toBe(401);
  expect(absolute.headers["www-authenticate"]).toContain(`realm="http://${host}/auth/token"`);
  const upload = await ask(port, "http://evil.example/v2/alice/app/blobs/uploads/", { host, ...alice }, "POST");
  expect(upload.status).toBe(202);
  expect(upload.headers.location).toMatch(/^\/v2\/alice\/app\/blobs\/uploads\//);
  expect(JSON.stringify([absolute, upload])).not.toContain("evil");
});

threat("D25", "where the URL is configured, it is what clients are sent to, whatever they called us", async () => {
  const { port } = await serve({ hostNames: ["registry.example"] }, { accounts: { url: "https://registry.example" } });
  for (const host of [`127.0.0.1:${port}`, "registry.example", `localhost:${port}`]) {
    const { headers } = await ask(port, "/v2/", { host });
    expect(headers["www-authenticate"]).toContain('realm="https://registry.example/auth/token"');
  }
});

threat("D25", "beyond loopback it listens with accounts alone, or where everybody is meant", async () => {
  const open = stage.keep(createRegistry({ storage: "memory" }));
  const refused = await listen(open, { host: "0.0.0.0", port: 0 }).catch((error: unknown) => error);
  expect(isLadingError(refused) && refused.code).toBe("usage");
  const { port } = await serve({ host: "0.0.0.0" });
  expect((await ask(port, "/v2/", { host: `127.0.0.1:${port}` })).status).toBe(401);
  expect((await ask(port, "/v2/", { host: "evil.example" })).status).toBe(421);
});
