import { mkdtempSync, rmSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect } from "vitest";
import { entriesFor, entryCredential, helperFor, parseAuthFile } from "../../src/config/auth-file.js";
import { loadConfig } from "../../src/config/config.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileJson } from "./json-mutation.js";
import { hostileText } from "./mutation.js";

const memory = statSync("/dev/shm", { throwIfNoEntry: false }) !== undefined;
const folder = mkdtempSync(join(memory ? "/dev/shm" : tmpdir(), "lading-fuzz-"));
afterAll(() => rmSync(folder, { recursive: true }));

const tables = [
  `cluster = "main"
owner = "alice"
insecure = ["registry.lan:5000"]
ca = "corp.pem"
cacheLimit = "10G"
concurrency = { transfers = 2, blobs = 4 }
[clusters.main]
registryUrl = "https://registry.main.example"
authHosts = ["auth.main.example"]
[clusters.local]
registryUrl = "http://localhost:5050"
data = "/srv/lading"
`,
  'engine = "docker"\nstore = "~/store"\ntimeout = "10m"\nplatform = "linux/arm/v7"\nprogress = "plain"\n',
  "a = 1979-05-27T07:32:00Z\nb = [1, [2, {c = 3}]]\n[[d]]\ne = '''x'''\n[__proto__]\nf = 0x10\n",
];

describe("config.toml", () => {
  fuzz("any text is a configuration, or refused", hostileText(tables), async (text) => {
    const path = join(folder, "config.toml");
    await writeFile(path, text);
    const env = { HOME: folder, LADING_CONFIG: path };
    const config = await unlessRefused(["config-invalid"], () => loadConfig({ env }));
    expect(Object.prototype).not.toHaveProperty("f");
    if (config === null) return;
    expect(Object.keys(config.clusters)).toContain(config.cluster);
    for (const { registryUrl } of Object.values(config.clusters))
      expect(["http:", "https:"]).toContain(new URL(registryUrl).protocol);
  });
});

const secret = "canary-7d1f0c";
const auth = Buffer.from(`user:${secret}`).toString("base64");
const files = [
  { auths: { "https://index.docker.io/v1/": { auth }, "ghcr.io": { username: "user", password: secret } } },
  { auths: { "registry.example:5000/team/app": { identitytoken: secret }, "registry.example:5000": {} } },
  {
    credsStore: "desktop",
    credHelpers: { "gcr.io": "gcloud", "public.ecr.aws": "" },
    auths: {},
    HttpHeaders: { x: "y" },
  },
];
const hosts = fc.constantFrom("docker.io", "ghcr.io", "registry.example:5000", "gcr.io", "constructor", "__proto__");

describe("config.json of Docker", () => {
  fuzz(
    "any text is read, or refused with nothing of its secrets",
    fc.tuple(hostileJson(files), hosts),
    async ([bytes, host]) => {
      const refusals: unknown[] = [];
      const told = async <Result>(act: () => Result): Promise<Result | null> =>
        await unlessRefused(["config-invalid"], () => {
          try {
            return act();
          } catch (error) {
            refusals.push(error);
            throw error;
          }
        });
      const file = await told(() => parseAuthFile(bytes.toString(), "config.json", 0o600));
      if (file !== null) {
        const helper = helperFor(file, host);
        expect(helper === null || (typeof helper === "string" && helper !== "")).toBe(true);
        for (const entry of entriesFor(file, host, "team/app")) {
          expect(entry.host).toBe(host);
          const credential = await told(() => entryCredential(entry, "config.json"));
          for (const value of Object.values(credential ?? {})) expect(typeof value).toBe("string");
        }
      }
      for (const error of refusals) {
        const text = String((error as Error).stack);
        expect(text.includes(secret) || text.includes(auth), "a secret in an error").toBe(false);
      }
    },
  );
});
