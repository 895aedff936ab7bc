import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { ErrorCode, Side } from "../../src/errors.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { makeCertificates } from "../support/certificates.js";
import { type FakeEngine, startFakeEngine } from "../support/fake-engine.js";
import { on, type ScriptedRegistry, startScriptedRegistry } from "../support/scripted-registry.js";
import { startTlsFront } from "../support/tls-front.js";
import { imageParts, serveManifest } from "../threats/hostile-image.js";
import { failureOf } from "./failure.js";
import { Machine } from "./machine.js";
import { mountSmallDisk, whyNoSmallDisk } from "./small-disk.js";

/**
 * Errors as a stranger reads them: one after the other, each with its side where there are two ends, its cause and the
 * next step. `LADING_SHOW_ERRORS=FILE npx vitest run --project cli test/cli/errors.test.ts` writes them down to be read.
 */
interface Case {
  readonly what: string;
  readonly code: ErrorCode;
  readonly side: Side | null;
  /** What the next step names. */
  readonly hint: RegExp;
  /** What has to be in the message: who, or what. */
  readonly says: RegExp;
  /** Sets the stage, and gives the command. */
  readonly run: (stage: { registry: ScriptedRegistry; engine: FakeEngine }) => Promise<{
    readonly args: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly after?: () => Promise<unknown>;
  }>;
}

let machine: Machine;
let registry: ScriptedRegistry;
let engine: FakeEngine;
let shown = "";
beforeAll(async () => {
  engine = await startFakeEngine();
});
afterAll(async () => {
  await engine.close();
  const file = process.env.LADING_SHOW_ERRORS;
  if (file !== undefined) await writeFile(file, shown);
});
beforeEach(async () => {
  machine = await Machine.create();
  registry = await startScriptedRegistry();
  await machine.putImage("app:1", { layers: 2, layerSize: 50_000 });
});
afterEach(async () => {
  await registry.close();
  await machine.remove();
});

const refuse = (status: number, code: string, message: string, headers: Record<string, string> = {}) =>
  registry.handlers.push((exchange) => {
    exchange.send(status, headers, JSON.stringify({ errors: [{ code, message }] }));
    return true;
  });
const at = (reference = "a/b:1") => `${registry.host}/${reference}`;
const image = () => serveManifest(registry, mediaTypes.ociManifest, imageParts(registry).manifest, "1");
const disk = whyNoSmallDisk();

const cases: readonly Case[] = [
  {
    what: "a name in upper case",
    code: "bad-reference",
    side: null,
    says: /"APP:1" has upper case/,
    hint: /lower case/,
    run: async () => ({ args: ["push", "APP:1"] }),
  },
  {
    what: "a verb with a typing error",
    code: "usage",
    side: null,
    says: /psuh/,
    hint: /push/,
    run: async () => ({ args: ["psuh", "app:1"] }),
  },
  {
    what: "an image of another registry without a destination",
    code: "bad-reference",
    side: null,
    says: /quay\.io\/org\/app/,
    hint: /destination/,
    run: async () => ({ args: ["push", "quay.io/org/app:1"] }),
  },
  {
    what: "a local image that is not there",
    code: "not-found",
    side: "source",
    says: /gone:1/,
    hint: /lading images/,
    run: async () => ({ args: ["push", "gone:1", at()] }),
  },
  {
    what: "a tag that is not there",
    code: "not-found",
    side: "source",
    says: /a\/b has no tag none/,
    hint: /lading tags/,
    run: async () => ({ args: ["pull", at("a/b:none")] }),
  },
  {
    what: "nothing listens",
    code: "unreachable",
    side: "source",
    says: /127\.0\.0\.1:1 could not be reached: nothing listens/,
    hint: /doctor/,
    run: async () => ({ args: ["pull", "127.0.0.1:1/a/b:1"] }),
  },
  {
    what: "a host that nobody knows",
    code: "unreachable",
    side: "destination",
    says: /registry\.invalid.*name/,
    hint: /name/,
    run: async () => ({ args: ["push", "app:1", "registry.invalid/a/b:1"] }),
  },
  {
    what: "a proxy that does not run",
    code: "unreachable",
    side: "source",
    says: /registry\.example.*through the proxy 127\.0\.0\.1:1:/,
    hint: /HTTPS_PROXY/,
    run: async () => ({
      args: ["pull", "registry.example/a/b:1"],
      env: { HTTPS_PROXY: "http://user:secret@127.0.0.1:1" },
    }),
  },
  {
    what: "no login where one is needed",
    code: "unauthorized",
    side: "source",
    says: /401/,
    hint: /lading login 127/,
    run: async () => {
      refuse(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": 'Basic realm="x"' });
      return { args: ["pull", at()] };
    },
  },
  {
    what: "an account that may not",
    code: "denied",
    side: "destination",
    says: /403/,
    hint: /account/,
    run: async () => {
      refuse(403, "DENIED", "requested access to the resource is denied");
      return { args: ["push", "app:1", at()] };
    },
  },
  {
    what: "a spent allowance",
    code: "rate-limited",
    side: "source",
    says: /429.*60 min/,
    hint: /log in|login|wait/,
    run: async () => {
      refuse(429, "TOOMANYREQUESTS", "You have reached your pull rate limit", { "retry-after": "3600" });
      return { args: ["pull", at()] };
    },
  },
  {
    what: "a registry that is broken",
    code: "unreachable",
    side: "source",
    says: /answered 503/,
    hint: /later/,
    run: async () => {
      refuse(503, "UNAVAILABLE", "maintenance");
      return { args: ["pull", at()] };
    },
  },
  {
    what: "plain http where TLS is expected",
    code: "tls",
    side: "source",
    says: /does not speak TLS/,
    hint: /--insecure/,
    run: async () => ({
      args: ["pull", "image:app:1"],
      env: { LADING_REGISTRY_URL: registry.url.replace("http", "https") },
    }),
  },
  {
    what: "plain http to somewhere else",
    code: "unsafe-url",
    side: "source",
    says: /plain http/,
    hint: /--insecure/,
    run: async () => ({ args: ["pull", "image:app:1"], env: { LADING_REGISTRY_URL: "http://registry.example" } }),
  },
  {
    what: "a redirect to where only this machine reaches",
    code: "unsafe-url",
    side: "source",
    says: /127\.0\.0\.1:\d+ redirects to .*169\.254/,
    hint: /nothing was sent/,
    run: async () => {
      image();
      registry.handlers.push(
        on("GET", /\/blobs\//, (exchange) => exchange.send(307, { location: "https://169.254.169.254/x" })),
      );
      return { args: ["pull", at()] };
    },
  },
  {
    what: "a token service somewhere else",
    code: "unsafe-url",
    side: "source",
    says: /127\.0\.0\.1:\d+ names as its token service/,
    hint: /authHosts/,
    run: async () => {
      refuse(401, "UNAUTHORIZED", "", { "www-authenticate": 'Bearer realm="https://10.0.0.1/token",service="x"' });
      return { args: ["pull", at()] };
    },
  },
  {
    what: "content that is not what its digest says",
    code: "digest-mismatch",
    side: "source",
    says: /content that should be sha256:/,
    hint: /again/,
    run: async () => {
      image();
      for (const [digest, bytes] of registry.blobs) registry.blobs.set(digest, Buffer.from(bytes).fill(1, 3));
      return { args: ["pull", at()] };
    },
  },
  {
    what: "a download that is cut every time",
    code: "unreachable",
    side: "source",
    says: /127\.0\.0\.1/,
    hint: /again|network/,
    run: async () => {
      image();
      const [size] = [...registry.blobs.values()].slice(-1).map(({ length }) => length);
      registry.handlers.push(
        on("GET", /\/blobs\//, ({ response }) => {
          response.writeHead(200, { "content-length": String(size) }).write("x");
          setImmediate(() => response.destroy());
        }),
      );
      return { args: ["pull", at()] };
    },
  },
  {
    what: "a registry that is silent for longer than is allowed",
    code: "timeout",
    side: null,
    says: /time/,
    hint: /--timeout/,
    run: async () => {
      registry.handlers.push(() => true);
      return { args: ["pull", at(), "--timeout", "1s"] };
    },
  },
  {
    what: "a platform that the image has not",
    code: "not-found",
    side: "source",
    says: /linux\/s390x/,
    hint: /--platform/,
    run: async () => {
      const entry = { ...image(), platform: { os: "linux", architecture: "amd64" } };
      serveManifest(registry, mediaTypes.ociIndex, { schemaVersion: 2, manifests: [entry] }, "1");
      return { args: ["pull", at(), "--platform", "linux/s390x"] };
    },
  },
  {
    what: "a tag that is there already",
    code: "conflict",
    side: "destination",
    says: /exists and is another image/,
    hint: /./,
    run: async () => {
      image();
      return { args: ["push", "app:1", at(), "--no-clobber"] };
    },
  },
  {
    what: "a manifest that is too large for the registry",
    code: "limit-exceeded",
    side: "destination",
    says: /127\.0\.0\.1.*413/,
    hint: /proxy/,
    run: async () => {
      registry.handlers.push(on("PUT", /\/manifests\//, (exchange) => exchange.send(413)));
      return { args: ["push", "app:1", at()] };
    },
  },
  {
    what: "no engine",
    code: "engine-unavailable",
    side: null,
    says: /nobody\.sock/,
    hint: /start it.*--engine store/,
    run: async () => ({
      args: ["images", "--engine", "docker"],
      env: { DOCKER_HOST: `unix://${machine.home}/nobody.sock` },
    }),
  },
  {
    what: "an engine that is killed in the middle",
    code: "engine-failed",
    side: "destination",
    says: /engine.*broke|cut off/,
    hint: /log|doctor/,
    run: async () => {
      engine.answers.set("POST /images/load", (request) => {
        request.once("data", () => request.socket.destroy());
      });
      image();
      return { args: ["pull", at(), "--engine", "docker"], env: { DOCKER_HOST: `unix://${engine.socketPath}` } };
    },
  },
  {
    what: "an archive that is cut off",
    code: "archive-invalid",
    side: "source",
    says: /archive/,
    hint: /again/,
    run: async () => {
      const path = join(machine.home, "app.tar");
      await machine.lading(["save", "app:1", "-o", path]);
      await writeFile(path, (await readFile(path)).subarray(0, 3000));
      return { args: ["load", path] };
    },
  },
  {
    what: "a file that is no archive",
    code: "archive-invalid",
    side: "source",
    says: /notes\.txt.*no tar archive/,
    hint: /gzip/,
    run: async () => {
      await writeFile(join(machine.home, "notes.txt"), "hello\n");
      return { args: ["load", "notes.txt"] };
    },
  },
  {
    what: "a long file that is no archive",
    code: "archive-invalid",
    side: "source",
    says: /notes\.txt.*no tar archive/,
    hint: /gzip/,
    run: async () => {
      await writeFile(join(machine.home, "notes.txt"), "hello\n".repeat(1000));
      return { args: ["import", "notes.txt", "new:1"] };
    },
  },
  {
    what: "a folder to save in that is not there",
    code: "io",
    side: "destination",
    says: /no folder nowhere/,
    hint: /path/,
    run: async () => ({ args: ["save", "app:1", "-o", "nowhere/app.tar"] }),
  },
  {
    what: "a digest of a tag that is not there",
    code: "not-found",
    side: "source",
    says: /a\/b has no tag none/,
    hint: /lading tags/,
    run: async () => ({ args: ["digest", at("a/b:none")] }),
  },
  {
    what: "a verb that there is not",
    code: "usage",
    side: null,
    says: /frobnicate/,
    hint: /lading --help/,
    run: async () => ({ args: ["frobnicate"] }),
  },
  {
    what: "a certificate that has expired",
    code: "tls",
    side: "source",
    says: /certificate has expired/,
    hint: /renew.*clock/,
    run: async () => {
      const { serverFolder } = await makeCertificates(join(machine.home, "tls"), [], -1);
      const front = await startTlsFront(serverFolder, Number(new URL(registry.url).port));
      return {
        args: ["digest", "image:app:1", "--ca-file", join(serverFolder, "ca.pem")],
        env: { LADING_REGISTRY_URL: `https://127.0.0.1:${front.port}` },
        after: () => front.close(),
      };
    },
  },
  {
    what: "an authority's file that holds none",
    code: "config-invalid",
    side: null,
    says: /notes\.pem holds no certificate/,
    hint: /--ca-file/,
    run: async () => {
      await writeFile(join(machine.home, "notes.pem"), "hello\n");
      return { args: ["digest", "registry.invalid/a/b:1", "--ca-file", "notes.pem"] };
    },
  },
  {
    what: "an archive that is not there",
    code: "not-found",
    side: "source",
    says: /nowhere\.tar/,
    hint: /path/,
    run: async () => ({ args: ["load", "nowhere.tar"] }),
  },
  {
    what: "a configuration that is no TOML",
    code: "config-invalid",
    side: null,
    says: /config\.toml.*line 1/,
    hint: /owner = "alice"/,
    run: async () => {
      const folder = join(machine.home, ".config", "lading");
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "config.toml"), "owner alice\n");
      return { args: ["ls"] };
    },
  },
  {
    what: "a credential helper that is not installed",
    code: "config-invalid",
    side: "source",
    says: /docker-credential-gone/,
    hint: /install it/,
    run: async () => {
      await mkdir(join(machine.home, ".docker"));
      await writeFile(join(machine.home, ".docker", "config.json"), '{"credsStore":"gone"}');
      refuse(401, "UNAUTHORIZED", "", { "www-authenticate": 'Basic realm="x"' });
      return { args: ["pull", at()] };
    },
  },
  ...(disk === null
    ? [
        {
          what: "a full disk",
          code: "no-space",
          side: "destination",
          says: /space|bytes/,
          hint: /free/,
          run: async () => {
            await machine.putImage("big:1", { layers: 2, layerSize: 6_000_000 });
            await machine.lading(["push", "big:1"]);
            const small = await mountSmallDisk(join(machine.home, "disk"), "2m");
            const store = join(small.path, "store");
            return { args: ["pull", "image:big:1", "--store", store], after: () => small.unmount() };
          },
        } satisfies Case,
      ]
    : []),
];

it.each(cases.map((one) => [one.what, one] as const))("%s", async (what, { code, side, hint, says, run }) => {
  const { args, env = {}, after } = await run({ registry, engine });
  try {
    const failure = failureOf(await machine.lading([...args, "--json"], { env }));
    expect(failure, failure.message).toMatchObject({ code, side });
    expect(failure.message).toMatch(says);
    expect(failure.hint ?? "").toMatch(hint);
    const { stdout, stderr } = await machine.lading(args, { env });
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^lading: error: .+\nhint: .+\n$/m);
    expect(stderr).not.toMatch(/\n\s+at |\[object|undefined|\bnull\b/);
    shown += `# ${what}\n$ lading ${args.join(" ")}\n${stderr}\n`;
  } finally {
    await after?.();
  }
});
