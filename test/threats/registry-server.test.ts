/** Table D: what somebody may send to the embedded registry. Served from a folder, reached over real sockets. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { createRegistry, type ListenOptions, listen, type RegistryOptions } from "../../src/server/index.js";
import { chanceOf } from "../faults/seeded.js";
import { startCanary } from "../support/canary.js";
import { threat } from "./threat.js";

const { ociManifest, ociIndex, ociConfig, ociLayerGzip, ociForeignLayerGzip } = mediaTypes;
const missing = digestOf("nobody has this");

let folder = "";
let port = 0;
let url = "";
let end: () => Promise<void> = async () => {};
let failures: unknown[] = [];

async function start(bounds: ListenOptions = {}, options: Partial<RegistryOptions> = {}): Promise<void> {
  await end();
  const onError = (error: unknown) => void failures.push(error);
  const registry = createRegistry({
    storage: { directory: join(folder, "data") },
    durability: "fast",
    onError,
    ...options,
  });
  const listening = await listen(registry, { host: "127.0.0.1", port: 0, onError, ...bounds });
  url = listening.urls[0] ?? "";
  port = Number(new URL(url).port);
  end = async () => {
    await listening.close(0);
    await registry.close();
    end = async () => {};
  };
}

beforeEach(async () => {
  failures = [];
  folder = await mkdtemp(join(tmpdir(), "lading-threats-"));
  await start();
});
afterEach(async () => {
  await end();
  await rm(folder, { recursive: true, force: true });
});

const send = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) =>
  await fetch(`${url}${path}`, { method, headers, redirect: "error", ...(body === undefined ? {} : { body }) });

async function pushBlob(repository: string, content: string, type = "application/octet-stream") {
  const digest = digestOf(content);
  const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`;
  expect((await send("POST", path, content, { "content-type": type })).status).toBe(201);
  return { digest, size: content.length };
}

const put = async (repository: string, tag: string, manifest: object | string, mediaType: string = ociManifest) =>
  await send(
    "PUT",
    `/v2/${repository}/manifests/${tag}`,
    typeof manifest === "string" ? manifest : JSON.stringify(manifest),
    {
      "content-type": mediaType,
    },
  );

async function image(repository: string) {
  const config = { mediaType: ociConfig, ...(await pushBlob(repository, `{"of":"${repository}"}`)) };
  const layer = { mediaType: ociLayerGzip, ...(await pushBlob(repository, `layer of ${repository}`)) };
  return { schemaVersion: 2, mediaType: ociManifest, config, layers: [layer] } as const;
}

/** Everything below the registry's folder, by name. */
const tree = async () => (await readdir(folder, { recursive: true })).sort();

/** Sends bytes as they are, and gives the status of the answer; null where the connection was closed without one. */
async function raw(text: string): Promise<number | null> {
  return await new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text, "latin1"));
    let answer = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.once("error", reject);
    socket.once("close", () => {
      const status = /^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1];
      resolve(status === undefined ? null : Number(status));
    });
  });
}

threat("D10", "of two who write to one upload at the same place one is taken, and the blob is whole", async () => {
  for (let round = 0; round < 20; round++) {
    const location = (await send("POST", "/v2/a/blobs/uploads/", "")).headers.get("location") ?? "";
    const bytes = `${round} `.repeat(40_000);
    const chunk = { "content-range": `0-${bytes.length - 1}` };
    const answers = await Promise.all([1, 2].map(() => send("PATCH", location, bytes, chunk)));
    expect(answers.map(({ status }) => status).sort()).toEqual([202, 416]);
    const closed = await send("PUT", `${location}?digest=${digestOf(bytes)}`, "");
    expect(closed.status).toBe(201);
    expect(await (await send("GET", closed.headers.get("location") ?? "")).text()).toBe(bytes);
  }
});

threat("D12", "no n makes a list cost more than its page", async () => {
  expect((await put("a", "v1", await image("a"))).status).toBe(201);
  const before = process.memoryUsage().arrayBuffers;
  for (const path of ["/v2/a/tags/list", "/v2/_catalog", `/v2/a/referrers/${missing}`]) {
    for (const [query, status] of [
      ["n=0", 200],
      ["n=1000000000", 200],
      ["n=9223372036854775808", 200],
      ["n=1&n=1000000000", 200],
      ["n=-1", 400],
      ["n=NaN", 400],
      ["n=1e9", 400],
      ["n=0x10", 400],
      ["n=%31%30%00", 400],
      [`n=${"9".repeat(40)}`, 400],
      ["n=Infinity", 400],
      ["n=", 400],
    ] as const) {
      const answer = await send("GET", `${path}?${query}`);
      expect([path, query, answer.status]).toEqual([path, query, status]);
      const { tags, repositories, manifests } = (await answer.json()) as Record<string, string[] | undefined>;
      const entries = tags ?? repositories ?? manifests ?? [];
      if (query === "n=0") expect([entries, answer.headers.get("link")]).toEqual([[], null]);
      expect(entries.length).toBeLessThanOrEqual(1);
    }
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  expect(failures).toEqual([]);
});

threat("D14", "a manifest beyond the limit is refused, and its connection closed, however it comes", async () => {
  const { config } = await image("a");
  const sized = (size: number): string => {
    const make = (pad: string) => JSON.stringify({ schemaVersion: 2, config, layers: [], annotations: { pad } });
    return make("x".repeat(size - make("").length));
  };
  expect((await put("a", "limit", sized(4 * 1024 * 1024))).status).toBe(201);
  expect((await put("a", "beyond", sized(4 * 1024 * 1024 + 1))).status).toBe(413);
  // What is announced is believed before a byte of it has come.
  const announced = `PUT /v2/a/manifests/beyond HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${ociManifest}\r\n`;
  expect(await raw(`${announced}content-length: 99999999999\r\n\r\n{`)).toBe(413);
  let most = 0;
  const before = process.memoryUsage().arrayBuffers;
  const closed = await new Promise<number>((resolve, reject) => {
    const headers = { "content-type": ociManifest };
    const request = httpRequest({ host: "127.0.0.1", port, method: "PUT", path: "/v2/a/manifests/endless", headers });
    let status = 0;
    request.once("response", (response) => {
      status = response.statusCode ?? 0;
      response.resume();
      expect(response.headers.connection).toBe("close");
    });
    // The sender never stops by itself.
    const chunk = Buffer.alloc(256 * 1024, " ");
    const more = (): void => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
      if (!request.destroyed) request.write(chunk, () => setImmediate(more));
    };
    request.on("error", (error: NodeJS.ErrnoException) => {
      if (!["EPIPE", "ECONNRESET"].includes(error.code ?? "")) reject(error);
    });
    request.once("close", () => resolve(status));
    more();
  });
  expect(closed).toBe(413);
  expect(most).toBeLessThan(64 * 1024 * 1024);
  for (const tag of ["beyond", "endless"]) expect((await send("GET", `/v2/a/manifests/${tag}`)).status).toBe(404);
  expect(failures).toEqual([]);
});

threat(
  "D15",
  "whoever sends a byte now and then is cut off; whoever sends slowly, for longer than any limit, is not",
  async () => {
    await start({ headersMs: 400, idleMs: 400, leastBytes: 4096 });
    const { headers } = await send("POST", "/v2/a/blobs/uploads/", "");
    const location = headers.get("location") ?? "";
    const heads = Array.from({ length: 60 }, () => "GET /v2/ HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
    const bodies = Array.from(
      { length: 60 },
      () => `PATCH ${location} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n`,
    );
    let open = 0;
    const attackers = [...heads, ...bodies].map((text) => {
      open += 1;
      const socket = connect(port, "127.0.0.1", () => socket.write(text));
      const drip = setInterval(() => socket.write("x"), 100);
      socket.on("error", () => {});
      socket.resume();
      return new Promise<void>((resolve) =>
        socket.once("close", () => {
          clearInterval(drip);
          open -= 1;
          resolve();
        }),
      );
    });
    // An honest one beside them, ten kilobytes at a time: it is still sending once every attacker is gone.
    const honest = await send("POST", "/v2/b/blobs/uploads/", "");
    const chunk = Buffer.alloc(10_000, "honest ");
    let sent = 0;
    async function* slowly() {
      while (open > 0 || sent < 100_000) {
        sent += chunk.length;
        yield chunk;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const path = honest.headers.get("location") ?? "";
    const patch = await fetch(`${url}${path}`, {
      method: "PATCH",
      body: ReadableStream.from(slowly()),
      duplex: "half",
    } as RequestInit);
    await Promise.all(attackers);
    expect([open, patch.status, patch.headers.get("range")]).toEqual([0, 202, `0-${sent - 1}`]);
  },
);

threat("D15", "one address has its share of connections and no more", async () => {
  await start({ connectionsPerAddress: 20 });
  const sockets = Array.from({ length: 60 }, () => connect(port, "127.0.0.1"));
  let closed = 0;
  for (const socket of sockets) {
    socket.on("error", () => {});
    socket.on("close", () => {
      closed += 1;
    });
    socket.resume();
  }
  try {
    await expect.poll(() => closed).toBe(40);
    for (const socket of sockets.filter(({ destroyed }) => !destroyed).slice(0, 5)) socket.destroy();
    await expect.poll(async () => (await send("GET", "/v2/").catch(() => null))?.status).toBe(200);
    expect(closed).toBe(45);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});

threat("D16", "a manifest is taken only with all that it is made of, in its own repository", async () => {
  const theirs = await image("theirs");
  const mine = await image("mine");
  const [layer] = mine.layers;
  const lacking = { ...layer, digest: missing };
  const foreign = (...urls: unknown[]) => ({ mediaType: ociForeignLayerGzip, digest: missing, size: 7, urls });
  const child = { mediaType: ociManifest, digest: missing, size: 7 };
  for (const [what, manifest, type] of [
    ["no config", { ...mine, config: undefined }],
    ["a config that is missing", { ...mine, config: { ...mine.config, digest: missing } }],
    ["a layer that is missing", { ...mine, layers: [lacking] }],
    ["a layer that is missing beside one that is there", { ...mine, layers: [layer, lacking] }],
    ["a layer of another repository", { ...mine, layers: theirs.layers }],
    ["a config of another repository", { ...mine, config: theirs.config }],
    [
      "an ordinary layer that is said to be elsewhere",
      { ...mine, layers: [{ ...lacking, urls: ["https://a.example/"] }] },
    ],
    ["a config that is said to be elsewhere", { ...mine, config: { ...lacking, urls: ["https://a.example/"] } }],
    ["a foreign layer that is nowhere", { ...mine, layers: [foreign()] }],
    ["a foreign layer in a file", { ...mine, layers: [foreign("file:///etc/passwd")] }],
    ["a foreign layer with a user's name", { ...mine, layers: [foreign("https://user:word@a.example/")] }],
    ["a foreign layer at no URL", { ...mine, layers: [foreign("https://a.example/", "not a URL")] }],
    ["a child that is missing", { schemaVersion: 2, mediaType: ociIndex, manifests: [child] }, ociIndex],
    [
      "a child that is a layer elsewhere",
      { schemaVersion: 2, manifests: [{ ...child, urls: ["https://a/"] }] },
      ociIndex,
    ],
  ] as const) {
    expect([what, (await put("mine", "bad", manifest, type)).status]).toEqual([what, 400]);
    expect((await send("GET", "/v2/mine/manifests/bad")).status).toBe(404);
  }
  expect(await (await send("GET", "/v2/mine/tags/list")).json()).toEqual({ name: "mine", tags: [] });
  expect((await put("mine", "good", mine)).status).toBe(201);
  expect(failures).toEqual([]);
});

threat("D17", "no content of a client is served as what a browser would run", async () => {
  const page = "<script>alert(1)</script>";
  for (const type of [
    "text/html",
    "image/svg+xml",
    "application/xhtml+xml",
    "text/javascript",
    `${ociManifest}x`,
    "a/b",
  ]) {
    expect([type, (await put("a", "v1", page, type)).status]).toEqual([type, 400]);
    const { digest } = await pushBlob("a", `${page}<!-- ${type} -->`, type);
    for (const accept of ["*/*", "text/html"]) {
      const answer = await send("GET", `/v2/a/blobs/${digest}`, undefined, { accept });
      const { headers } = answer;
      expect([
        headers.get("content-type"),
        headers.get("content-disposition"),
        headers.get("x-content-type-options"),
      ]).toEqual(["application/octet-stream", "attachment", "nosniff"]);
    }
  }
  const odd = { ...(await image("a")), artifactType: "text/html", annotations: { page } };
  expect((await put("a", "v1", odd)).status).toBe(201);
  const manifest = await send("GET", "/v2/a/manifests/v1");
  expect([manifest.headers.get("content-type"), manifest.headers.get("x-content-type-options")]).toEqual([
    ociManifest,
    "nosniff",
  ]);
  const config = odd.config.digest;
  for (const path of [
    "/v2/",
    "/v2/a/tags/list",
    `/v2/a/referrers/${config}`,
    `/v2/${encodeURIComponent(page)}/tags/list`,
    "/x",
  ]) {
    const answer = await send("GET", path);
    expect(answer.headers.get("content-type")).toMatch(/^application\/(json|vnd\.oci\.image\.index\.v1\+json)$/);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    // what a client sent is not repeated in an error
    expect(await answer.text()).not.toContain("<script>");
  }
  expect(failures).toEqual([]);
});

threat(
  "D26",
  "no path leads out of its place: names, tags, digests and sessions are decoded once and checked",
  async () => {
    const { config } = await image("a");
    const session = (await send("POST", "/v2/a/blobs/uploads/", "")).headers.get("location") ?? "";
    const before = await tree();
    const bad = [
      ...[
        "..",
        ".",
        "../..",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%2e%2e%2f",
        "%252e%252e%252f",
        "..%5c..",
        "..\\..",
      ],
      ...[
        "a%00b",
        "%00",
        "a%0d%0ab",
        "%c0%ae%c0%ae",
        "%ff",
        "%",
        "%zz",
        "%u002e",
        "C:",
        "c:%5cwindows",
        "CON",
        "~",
        "-",
      ],
      ...[
        "_links",
        "_tags",
        "_uploads",
        "_manifests",
        "%5flinks",
        "x".repeat(300),
        "%2fetc%2fpasswd",
        "a%2f%2fb",
        "a%2f..%2fb",
      ],
      ...[
        "sha256:..%2f..%2fx",
        "sha256:%2e%2e",
        `sha256:${"0".repeat(63)}`,
        `sha256:${"0".repeat(62)}..`,
        "SHA256:00",
        "sha256:",
      ],
      ...[
        `sha256:${"A".repeat(64)}`,
        `sha512:${"0".repeat(64)}`,
        "00000000-0000-0000-0000-00000000000G",
        "..;",
        "a;b",
        "a b",
        " ",
      ],
    ];
    const shapes: readonly (readonly [string, (part: string) => string])[] = [
      ["GET", (part) => `/v2/${part}/tags/list`],
      ["GET", (part) => `/v2/a/${part}/manifests/v1`],
      ["PUT", (part) => `/v2/${part}/manifests/v1`],
      ["PUT", (part) => `/v2/a/manifests/${part.replace(/^(CON|C:|~|-)$/, ".$1")}`],
      ["DELETE", (part) => `/v2/a/manifests/${part}`],
      ["GET", (part) => `/v2/a/blobs/${part}`],
      ["DELETE", (part) => `/v2/a/blobs/${part}`],
      ["GET", (part) => `/v2/a/referrers/${part}`],
      ["POST", (part) => `/v2/${part}/blobs/uploads/`],
      ["GET", (part) => `/v2/a/blobs/uploads/${part}`],
      ["PATCH", (part) => `/v2/a/blobs/uploads/${part}`],
      ["DELETE", (part) => `/v2/a/blobs/uploads/${part}`],
      ["PUT", (part) => `/v2/a/blobs/uploads/${part}?digest=${config.digest}`],
      ["PUT", (part) => `${session}?digest=${part}`],
      ["GET", (part) => `/${part}/v2/a/tags/list`],
      ["GET", (part) => `/v2/../${part}`],
      ["GET", (part) => `//v2/${part}`],
    ];
    const body = "{}";
    for (const part of bad) {
      for (const [method, shape] of shapes) {
        const line = `${method} ${shape(part)} HTTP/1.1`;
        const headers = `host: localhost\r\nconnection: close\r\ncontent-type: ${ociManifest}\r\ncontent-length: ${body.length}`;
        const status = await raw(`${line}\r\n${headers}\r\n\r\n${body}`);
        expect([line, [400, 404, 405].includes(status ?? 0)]).toEqual([line, true]);
      }
    }
    // The session of the wrong digests is still the one that was begun.
    expect(await tree()).toEqual(before);
    expect(failures).toEqual([]);
  },
);

threat("D26", "names that some file system would take for one are kept apart", async () => {
  const made = await image("a");
  const tags = ["v1", "V1", "con", "CON", "aux.txt", "v1.", "nul", "_x", "x_"];
  for (const [index, tag] of tags.entries()) {
    expect((await put("a", tag, { ...made, annotations: { index: String(index) } })).status).toBe(201);
  }
  for (const [index, tag] of tags.entries()) {
    const found = (await (await send("GET", `/v2/a/manifests/${tag}`)).json()) as { annotations: { index: string } };
    expect([tag, found.annotations.index]).toEqual([tag, String(index)]);
  }
  // Folded to one case, no two files are the same.
  const names = (await tree()).map((name) => name.toLowerCase());
  expect(new Set(names).size).toBe(names.length);
});

threat("D28", "no request makes the server ask anybody", async () => {
  const canary = await startCanary();
  try {
    const there = `http://${canary.host}/`;
    const escaped = encodeURIComponent(there);
    const made = await image("a");
    await put("a", "v1", made);
    const layer = { mediaType: ociForeignLayerGzip, digest: missing, size: 7, urls: [there] };
    expect((await put("a", "foreign", { ...made, layers: [layer] })).status).toBe(201);
    const { digest } = made.config;
    for (const [method, path] of [
      ["GET", `/v2/?ns=${escaped}&url=${escaped}`],
      ["GET", `/v2/a/manifests/v1?ns=${canary.host}`],
      ["GET", `/v2/a/manifests/missing?ns=${canary.host}`],
      ["GET", `/v2/a/blobs/${missing}?ns=${canary.host}`],
      ["GET", `/v2/a/tags/list?ns=${canary.host}&last=${escaped}`],
      ["GET", `/v2/_catalog?last=${escaped}`],
      ["GET", `/v2/a/referrers/${digest}?artifactType=${escaped}`],
      ["POST", `/v2/b/blobs/uploads/?mount=${digest}&from=${escaped}`],
      ["POST", `/v2/b/blobs/uploads/?mount=${missing}&from=${canary.host}`],
      ["POST", `/v2/b/blobs/uploads/?digest=${missing}&source=${escaped}`],
      ["GET", `/v2/a/manifests/foreign`],
      ["GET", `/v2/a/blobs/${missing}`],
      ["DELETE", "/v2/a/manifests/foreign"],
    ] as const) {
      const headers = { "x-forwarded-host": canary.host, referer: there, "x-callback": there };
      expect((await send(method, path, method === "POST" ? "" : undefined, headers)).status).toBeLessThan(500);
    }
    expect(await raw(`GET ${there}v2/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)).toBe(200);
    expect(await raw(`CONNECT ${canary.host} HTTP/1.1\r\nhost: ${canary.host}\r\n\r\n`)).not.toBe(200);
    expect(canary.connections).toBe(0);
  } finally {
    await canary.close();
  }
});

threat("D28", "nothing of the server's code can make a request", async () => {
  const root = new URL("../../src/server/", import.meta.url);
  const sources = (await readdir(root, { recursive: true })).filter((name) => /(?<!\.test)\.ts$/.test(name));
  expect(sources.length).toBeGreaterThan(20);
  const ways = [
    /(?<![.\w])fetch\(/,
    /["'](?:undici|node:https|node:http2|node:tls|node:dgram|node:child_process)["']/,
    /import (?!type)[^;]*\b(?:get|request|Agent|ClientRequest)\b[^;]*from "node:http"/,
    /import (?!type)[^;]*\b(?:connect|createConnection|Socket)\b[^;]*from "node:net"/,
    /import \* as \w+ from "node:(?:http|net)"|import\("node:(?:http|net)"\)/,
  ];
  const asking: string[] = [];
  for (const name of sources) {
    const text = await readFile(new URL(name, root), "utf8");
    if (ways.some((way) => way.test(text))) asking.push(name);
  }
  expect(asking).toEqual([]);
});

threat("D29", "whatever is asked of a list, it is a list or an error of the client", async () => {
  await put("a", "v1", await image("a"));
  const seed = process.env.LADING_FAULT_SEED ?? "1";
  const chance = chanceOf(`D29/${seed}`);
  const pick = <T>(from: readonly T[]): T => from[chance.below(from.length)] as T;
  const signs = [..."'\"`{$}[]()*%_\\/.\0\nä😀a1-;|&="];
  const word = () => Array.from({ length: 1 + chance.below(24) }, () => pick(signs)).join("");
  const keys = ["last", "n", "artifactType", "sort", "filter", "q", "order", "tag", "ns", "__proto__", "constructor"];
  const paths = ["/v2/a/tags/list", "/v2/_catalog", `/v2/a/referrers/${missing}`];
  for (let round = 0; round < 1000; round++) {
    const query = new URLSearchParams(
      Array.from({ length: 1 + chance.below(3) }, (): [string, string] => [pick(keys), word()]),
    );
    const path = `${pick(paths)}?${query}`;
    const answer = await send("GET", path);
    expect([seed, path, [200, 400].includes(answer.status)]).toEqual([seed, path, true]);
    await answer.arrayBuffer();
  }
  expect(failures).toEqual([]);
});
