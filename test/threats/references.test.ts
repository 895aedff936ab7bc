import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import fc from "fast-check";
import { afterEach, expect, vi } from "vitest";
import { referenceText } from "../../src/engines/engine-reference.js";
import { isLadingError } from "../../src/errors.js";
import { Parser } from "../../src/image/parser.js";
import { canonicalAuthority } from "../../src/image/reference.js";
import { wireName } from "../../src/image/remote-image.js";
import { limits } from "../../src/oci/limits.js";
import { parseChallenges } from "../../src/registry/challenge.js";
import { nextPage } from "../../src/registry/link.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { on } from "../support/scripted-registry.js";
import { withCode } from "../support/store-contract.js";
import { useStage } from "./stage.js";
import { threat } from "./threat.js";

const stage = useStage();
const hex = "0123456789abcdef".repeat(4);
const context = { clusters: { main: "https://registry.main.example" }, cluster: "main", owner: "alice", org: null };
const parser = new Parser(context);
afterEach(() => {
  vi.restoreAllMocks();
});

interface Parts {
  readonly domain: string;
  readonly path: string;
  readonly tag: string;
  readonly digest: string;
}

/** A name in its parts as they go over the wire; null where it is refused. */
function partsOf(text: string): Parts | null {
  try {
    const image = parser.remoteImage(text, { tagOption: "allow" });
    const { registry, repository } = wireName(image);
    return { domain: registry, path: repository, tag: image.tag ?? "", digest: image.digest ?? "" };
  } catch (error) {
    if (isLadingError(error) && error.code === "bad-reference") return null;
    throw error;
  }
}

/** Where Lading differs from distribution/reference on purpose, and what it makes of such a name. */
const differences: readonly (readonly [reason: string, which: RegExp, ours: (theirs: Parts) => Parts | null])[] = [
  [
    "a host has no case, and is written in lower case",
    /^Example\.COM\//,
    (theirs) => ({ ...theirs, domain: theirs.domain.toLowerCase() }),
  ],
  [
    "a first part without a dot or colon is no host, and upper case is none of a path's",
    /^(?:EXAMPLE|Localhost)\//,
    () => null,
  ],
  ["a port is 1 to 65535, without zeros before it", /^example\.com:(?:99999|0|080)\//, () => null],
  [
    "all names of Docker Hub are one registry",
    /^registry-1\.docker\.io\//,
    ({ path, ...theirs }) => ({ ...theirs, domain: "docker.io", path: path.includes("/") ? path : `library/${path}` }),
  ],
  ["what looks like a host and can't be one is no path either", /^a_b\.c\//, () => null],
  ["sha256:<64 hex> is an image's ID, not the name sha256 with a tag", /^sha256:[0-9a-f]{64}$/, () => null],
  [
    "255 characters are for the name with its host, as the distribution registry counts",
    /^example\.com\/(?:a{255}$|(?:a\/){127}a$)/,
    () => null,
  ],
  ["sha256 and sha512 are the algorithms that are known", /@sha384:/, () => null],
];

threat("B10", "names mean what distribution/reference says that they mean", async () => {
  const text = await readFile(new URL("../golden/reference-vectors.json", import.meta.url), "utf8");
  const { version, vectors } = JSON.parse(text) as {
    version: string;
    vectors: readonly { text: string; parts: Parts | null }[];
  };
  expect(version).toMatch(/^v\d/);
  expect(vectors.length).toBeGreaterThanOrEqual(200);
  const used = new Set<string>();
  for (const { text, parts } of vectors) {
    const difference = parts === null ? undefined : differences.find(([, which]) => which.test(text));
    if (difference !== undefined) used.add(difference[0]);
    const expected = parts === null || difference === undefined ? parts : difference[2](parts);
    // Its limit is for the path with the `library/` that goes before it on the wire: such a name is refused there.
    if (text === "a".repeat(255)) expect(partsOf(text)).toMatchObject({ path: `library/${text}` });
    else expect(partsOf(text), text).toEqual(expected);
  }
  expect([...used].sort()).toEqual(differences.map(([reason]) => reason).sort());
});

threat("B11", "an ID is no name, and a tag may look like one", async () => {
  const id = `sha256:${hex}`;
  const refused = (work: () => unknown) => expect(work).toThrow(withCode("bad-reference"));
  // 64 hex: an ID that lacks its algorithm. 63 and 65: names, however odd.
  for (const text of [hex, `${hex}:1`, id]) {
    refused(() => parser.localImage(text));
    refused(() => parser.remoteImage(text));
  }
  refused(() => parser.localImage(`${hex}@${id}`));
  refused(() => parser.toLocal(parser.remoteImage(`image:${hex}:1`)));
  for (const text of [hex.slice(1), `${hex}0`]) {
    expect(String(parser.localImage(text))).toBe(`${text}:latest`);
    expect(partsOf(text)).toMatchObject({ domain: "docker.io", path: `library/${text}` });
  }
  expect(String(parser.localImage(`bob/${hex}`))).toBe(`bob/${hex}:latest`);
  expect(parser.localImage(`app:${hex}`)).toMatchObject({ name: "app", tag: hex });
  expect(partsOf(`app@${id}`)).toMatchObject({ path: "library/app", tag: "", digest: id });
  refused(() => parser.remoteImage(`app@${hex}`));
  refused(() => parser.remoteImage("app@sha256:0123456789ab"));
});

threat("B12", "what could be read in two ways is refused here and by the registry", async () => {
  const own = stage.keep(await startOwnRegistry("memory"));
  const scripted = await stage.registry();
  const { client } = stage.client(scripted.url);
  for (const path of [
    "\uff41\uff42",
    "a\u200bb",
    "a\u202eb",
    "\u0430b",
    "e\u0301",
    "a/../b",
    "a/./b",
    "..",
    "a//b",
    "/a",
    "a/",
    "x.",
    ".x",
    "a b",
    "a%2fb",
    "a%2e%2e/b",
    "a\\b",
    "a\u0000b",
    "a\nb",
    "C:/x",
    "A",
    "a+b",
    "~a",
    "a*",
    "a".repeat(300),
  ]) {
    for (const read of [
      () => parser.localImage(path),
      () => parser.remoteImage(`quay.io/${path}`),
      () => parser.remoteImage(`image:/bob/${path}`),
      () => client.repository(path),
    ]) {
      expect(read, JSON.stringify(path)).toThrow(withCode("bad-reference"));
    }
    for (const written of [path, encodeURIComponent(path), path.replaceAll(".", "%2e"), path.replaceAll("/", "%2f")]) {
      const status = await rawStatus(own.url, `/v2/${written}/manifests/v1`);
      expect([400, 404], `${JSON.stringify(written)}: ${status}`).toContain(status);
    }
  }
  for (const tag of ["\uff41", "a\u200b", "..", "-a", "a/b", "a b", "a%20b", "", "x".repeat(129)]) {
    expect(() => parser.remoteImage(`quay.io/a:${tag}`), JSON.stringify(tag)).toThrow(withCode("bad-reference"));
    await expect(client.repository("a").manifest(tag)).rejects.toEqual(withCode("bad-reference"));
    expect([400, 404, 405]).toContain(await rawStatus(own.url, `/v2/a/manifests/${tag}`));
  }
  expect(scripted.requests).toEqual([]);
  expect(await (await fetch(`${own.url}/v2/_catalog`)).json()).toEqual({ repositories: [] });
  // Names of devices on Windows are names like any other in a grammar; what keeps them is of another shape.
  for (const name of ["con", "nul", "aux", "com1"]) expect(partsOf(name)).toMatchObject({ path: `library/${name}` });
});

/** The answer's status to a request target that is sent as it is, which no URL would let through; 400 where it is cut off. */
async function rawStatus(url: string, target: string): Promise<number> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.end(`PUT ${target} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`);
  let text = "";
  for await (const chunk of socket.setEncoding("utf8")) text += chunk as string;
  return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "400");
}

threat("B13", "a host in a name is dialled as it is written, or refused", async () => {
  const registry = await stage.registry();
  const port = Number(new URL(registry.url).port);
  for (const [text, host] of [
    ["user@host/repo", null],
    ["user:password@host.example/repo", null],
    ["host:99999/x", null],
    ["host.example:80a/x", null],
    ["host?x/y", null],
    ["host.example?x/y", null],
    ["host.example#x/y", null],
    ["host.example\\@evil.example/y", null],
    ["host.example%2f@evil.example/y", null],
    ["0x7f.1:5000/x", "0x7f.1:5000"],
    ["[::1]:5000/x", "[::1]:5000"],
    ["[::ffff:127.0.0.1]:5000/x", "[::ffff:127.0.0.1]:5000"],
    ["127.0.0.1:5000/x", "127.0.0.1:5000"],
    ["host.example:443/x", "host.example:443"],
  ] as const) {
    if (host === null) {
      expect(() => parser.remoteImage(text), text).toThrow(withCode("bad-reference"));
      continue;
    }
    const { registry: named } = wireName(parser.remoteImage(text));
    expect(named).toBe(host);
  }
  // From fields to the URL that is dialled, and to the Host that the server sees.
  const { client } = stage.client(`http://[::ffff:127.0.0.1]:${port}`, { insecure: true });
  for (const url of [
    "http://user@host.example",
    "http://:password@host.example",
    "http://host.example/path",
    "http://host.example?x",
  ]) {
    expect(() => stage.client(url), url).toThrow(withCode("config-invalid"));
  }
  await client.ping();
  expect(registry.requests.map(({ headers }) => headers.host)).toEqual([`[::ffff:7f00:1]:${port}`]);
});

threat(
  "B8",
  "one parser decides: credentials are looked up for the very host that the engine and the registry are told",
  async () => {
    const label = fc.stringMatching(/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-zA-Z0-9])?$/);
    const host = fc
      .tuple(fc.array(label, { minLength: 1, maxLength: 3 }), fc.option(fc.integer({ min: 1, max: 70_000 })))
      .map(([labels, port]) => labels.join(".") + (port === null ? "" : `:${port}`));
    const path = fc.stringMatching(/^[a-zA-Z0-9._-]{1,8}(\/[a-z0-9._-]{1,8}){0,2}$/);
    const text = fc.oneof(
      fc.tuple(host, path).map(([one, other]) => `${one}/${other}`),
      path,
      fc.constantFrom("docker.io/a", "index.docker.io/a/b", "registry-1.docker.io/a", "UPPER/a", "localhost/a"),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        let image: ReturnType<Parser["remoteImage"]>;
        try {
          image = parser.remoteImage(candidate);
        } catch (error) {
          expect(error).toEqual(withCode("bad-reference"));
          return;
        }
        const asked = wireName(image).registry;
        const local = referenceText(parser.toLocal(image));
        // What the engine is told names the same registry to it: read again, it is asked for the same host.
        expect(wireName(parser.remoteImage(local)).registry).toBe(asked);
        expect(canonicalAuthority(asked)).toBe(asked);
        expect(asked).toBe(asked.toLowerCase());
      }),
      { numRuns: 1000 },
    );
  },
);

/** How much work text makes: characters that were looked at one by one, and those that patterns were run over. */
function countWork(work: () => unknown): number {
  let steps = 0;
  const { charAt, charCodeAt } = String.prototype;
  const { exec } = RegExp.prototype;
  const spies = [
    vi.spyOn(String.prototype, "charAt").mockImplementation(function (this: string, at: number) {
      steps += 1;
      return charAt.call(this, at);
    }),
    vi.spyOn(String.prototype, "charCodeAt").mockImplementation(function (this: string, at: number) {
      steps += 1;
      return charCodeAt.call(this, at);
    }),
    vi.spyOn(RegExp.prototype, "exec").mockImplementation(function (this: RegExp, text: string) {
      steps += text.length;
      return exec.call(this, text);
    }),
  ];
  try {
    work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return steps;
}

function attempt(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

threat("B14", "text of a megabyte makes no more work than text of ten kilobytes", async () => {
  const page = new URL("https://reg.example/v2/a/tags/list");
  const texts: readonly ((size: number) => string)[] = [
    (size) => "a".repeat(size),
    (size) => "a/".repeat(size / 2),
    (size) => "a-".repeat(size / 2),
    (size) => "a:".repeat(size / 2),
    (size) => "[".repeat(size),
    (size) => `quay.io/${"a_".repeat(size / 2)}!`,
    (size) => `Bearer realm="${"\\".repeat(size)}`,
    (size) => "Bearer ".repeat(size / 7),
    (size) => `Bearer ${'a="b",'.repeat(size / 6)}`,
    (size) => "<".repeat(size),
    (size) => `<${"x".repeat(size)}>; rel="next"`,
    (size) => `${"<a>;".repeat(size / 4)}`,
    (size) => `<a>${"; rel = ".repeat(size / 8)}`,
  ];
  const readers: readonly (readonly [what: string, most: number, read: (text: string) => unknown])[] = [
    ["localImage", 1024, (text) => parser.localImage(text)],
    ["remoteImage", 1024, (text) => parser.remoteImage(text)],
    ["image:", 1024, (text) => parser.remoteImage(`image:${text}`)],
    ["WWW-Authenticate", limits.authorization, (text) => parseChallenges(text)],
    ["Link", limits.authorization, (text) => nextPage(text, page)],
  ];
  for (const [what, most, read] of readers) {
    for (const text of texts) {
      // Beyond its bound nothing is looked at but what an error shows.
      for (const size of [20_000, 1_000_000]) {
        const work = countWork(() => attempt(() => read(text(size))));
        expect(work, `${what} of ${size}`).toBeLessThan(2000);
      }
      // Within it, work grows as the text does.
      const [half, full] = [most / 2 - 100, most - 200].map((size) => countWork(() => attempt(() => read(text(size)))));
      expect(full, `${what} ${text(20)}`).toBeLessThan(2.5 * (half ?? 0) + 2000);
    }
    const error = attempt(() => read(texts[0]?.(1_000_000) ?? ""));
    if (error instanceof Error) expect(error.message.length).toBeLessThan(500);
  }
});

threat("B14", "a header of a megabyte from a server ends at the bound of headers", async () => {
  for (const name of ["www-authenticate", "link", "warning", "location"]) {
    const registry = await stage.registry();
    registry.handlers.push(
      on("GET", "/v2/", (exchange) => exchange.send(401, { [name]: `Bearer realm="${"x".repeat(1_000_000)}"` })),
    );
    await expect(stage.client(registry.url).client.ping(), name).rejects.toEqual(withCode("limit-exceeded"));
    expect(registry.requests).toHaveLength(1);
  }
});
