import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fakeClient, resultOf } from "../../test/support/fake-client.js";
import { type RecordedIo, RecordedStream, recordedIo } from "../../test/support/recorded-io.js";
import { temporaryFolder } from "../../test/support/temporary-folder.js";
import { abortError, LadingError } from "../errors.js";
import { RemoteImage } from "../image/remote-image.js";
import { version } from "../version.js";
import { Interruption } from "./io.js";
import { run } from "./run.js";

const digest = `sha256:${"d".repeat(64)}`;

/** Runs with a client that has these methods. */
async function lading(argv: string, methods: Parameters<typeof fakeClient>[0] = {}, io: RecordedIo = recordedIo()) {
  const code = await run(argv.split(" "), io, { openClient: async () => fakeClient(methods) });
  return { code, stdout: io.stdout.text, stderr: io.stderr.text, error: lastError(io) };
}

function lastError(io: RecordedIo): Record<string, unknown> | null {
  const last = io.stderr.lines.at(-1) ?? "";
  return last.startsWith("{") ? (JSON.parse(last) as { error: Record<string, unknown> }).error : null;
}

const digestOf = (calls: unknown[] = []) => ({
  images: {
    digestDetailed: async (image: unknown, options: unknown) => {
      calls.push([String(image), options]);
      return resultOf({ digest, image: String(image) });
    },
  },
});

describe("the frame", () => {
  it("prints version and help on stdout, and loads no client for them", async () => {
    const openClient = async () => {
      throw new Error("opened");
    };
    for (const argv of [["--version"], ["push", "--help"], ["--help"], ["help", "pull"]]) {
      const io = recordedIo();
      expect(await run(argv, io, { openClient })).toBe(0);
      expect(io.stdout.text).not.toBe("");
      expect(io.stderr.text).toBe("");
    }
    const io = recordedIo();
    await run(["-V"], io, { openClient });
    expect(io.stdout.text).toBe(`${version}\n`);
  });

  it("names the verb that there is no help for", async () => {
    const outcome = await lading("help nosuchverb --json");
    expect(outcome).toMatchObject({ code: 64, error: { code: "usage" } });
    expect(outcome.error?.message).toContain("nosuchverb");
  });

  it("shows examples in the help of every verb", async () => {
    const verbsOf = async (path: readonly string[]): Promise<readonly string[]> => {
      const io = recordedIo();
      expect(await run([...path, "--help"], io)).toBe(0);
      const [, list = ""] = io.stdout.text.split("\nCommands:\n");
      const names = [
        ...list
          .split("\n\n", 1)
          .join("")
          .matchAll(/^ {2}([a-z]+)\b/gm),
      ].map((match) => match[1] ?? "");
      const found: string[] = [];
      for (const name of names.filter((one) => one !== "help")) {
        const help = recordedIo();
        expect(await run([...path, name, "--help"], help)).toBe(0);
        if (help.stdout.text.includes("\nCommands:\n")) found.push(...(await verbsOf([...path, name])));
        else {
          found.push([...path, name].join(" "));
          expect(help.stdout.text).toContain(`\n  $ lading ${[...path, name].join(" ")}`);
        }
      }
      return found;
    };
    const verbs = await verbsOf([]);
    expect(verbs).toEqual(expect.arrayContaining(["push", "config set", "registry user add"]));
    expect(new Set(verbs).size).toBe(verbs.length);
  });

  it.each([
    "",
    "nosuchverb",
    "digest",
    "digest image:a image:b",
    "digest --nosuchflag image:a",
    "--engine rkt images",
    "tags --sort colour image:a",
    "--timeout soon digest image:a",
    "--progress loud digest image:a",
    "serve --port 70000",
    "config",
    "inspect",
    "inspect image:a --local a",
    "completion tcsh",
  ])("refuses %j with 64", async (argv) => {
    const plain = await lading(argv);
    expect(plain.code).toBe(64);
    expect(plain.stdout).toBe("");
    expect(plain.stderr).toMatch(/lading: error: .+\nhint: .+\n$/);
    const json = await lading(argv === "" ? "--json" : `${argv} --json`);
    expect(json).toMatchObject({ code: 64, stdout: "", error: { code: "usage", exit: 64 } });
  });

  it("takes flags before and after the verb", async () => {
    for (const argv of ["--json digest image:app:1", "digest --json image:app:1", "digest image:app:1 --json"]) {
      expect(JSON.parse((await lading(argv, digestOf())).stdout)).toMatchObject({ digest });
    }
  });

  it("takes what follows -- for names", async () => {
    const outcome = await lading("digest -- --json", digestOf());
    expect(outcome).toMatchObject({ code: 64, stdout: "" });
    expect(outcome.stderr).toContain("lading: error:");
  });

  it("prints one value and a newline for --json", async () => {
    const { stdout, stderr } = await lading("digest image:app:1 --json", digestOf());
    expect(stdout).toBe(`{"digest":"${digest}","image":"image://local/alice/app:1"}\n`);
    expect(stderr).toBe("");
  });

  it("leaves stdout empty on failure, and ends stderr with the whole error", async () => {
    const failing = {
      images: {
        digestDetailed: async () => {
          throw new LadingError("not-found", "no \u001b[2Jsuch", {
            side: "source",
            operation: "digest",
            image: "image:app:1",
            status: 404,
            hint: "look",
          });
        },
      },
    };
    expect(await lading("digest image:app:1 --json", failing)).toMatchObject({ code: 72, stdout: "" });
    expect((await lading("digest image:app:1 --json", failing)).error).toEqual({
      code: "not-found",
      side: "source",
      operation: "digest",
      image: "image:app:1",
      digest: null,
      status: 404,
      limit: null,
      message: "no \u001b[2Jsuch",
      hint: "look",
      retryable: false,
      exit: 72,
    });
    const plain = await lading("digest image:app:1 --quiet", failing);
    expect(plain.stderr).toBe("lading: error: no \\x1b[2Jsuch\nhint: look\n");
  });

  it("closes the client whatever happens", async () => {
    let closed = 0;
    const client = {
      close: async () => {
        closed += 1;
      },
    };
    await lading("digest image:app:1", { ...digestOf(), client });
    await lading("digest image:app:1", {
      images: { digestDetailed: async () => Promise.reject(new Error("x")) },
      client,
    });
    expect(closed).toBe(2);
  });

  it("takes a defect for what it is", async () => {
    const broken = { images: { digestDetailed: async () => Promise.reject(new TypeError("x is undefined")) } };
    expect(await lading("digest image:app:1 --json", broken)).toMatchObject({ code: 1, error: { code: "internal" } });
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("ends with the code of %s", async (signal, code) => {
    const controller = new AbortController();
    const waiting = {
      images: {
        digestDetailed: (_image: unknown, { signal: given }: { signal: AbortSignal }) =>
          new Promise((_resolve, reject) => {
            given.addEventListener("abort", () => reject(abortError(given)));
            controller.abort(new Interruption(signal));
          }),
      },
    };
    const outcome = await lading("digest image:app:1", waiting, recordedIo({ interrupted: controller.signal }));
    expect(outcome).toMatchObject({ code, stdout: "" });
  });

  it.each([
    ["--timeout 0.02", {}],
    ["--json", { LADING_TIMEOUT: "20ms" }],
  ])("ends with 124 when the time of %j is over", async (flags, env) => {
    const waiting = {
      images: {
        digestDetailed: (_image: unknown, { signal }: { signal: AbortSignal }) =>
          new Promise((_resolve, reject) => {
            // What holds the event loop open, as a socket does.
            const alive = setInterval(() => undefined, 1000);
            signal.addEventListener("abort", () => {
              clearInterval(alive);
              reject(abortError(signal));
            });
          }),
      },
    };
    expect((await lading(`digest image:app:1 ${flags}`, waiting, recordedIo({ env }))).code).toBe(124);
  });

  it("reads time limit and progress from the file too, below variables and flags", async () => {
    const directory = await temporaryFolder();
    const file = join(directory, "config.toml");
    await writeFile(file, 'timeout = "soon"\nprogress = "json"\n');
    const calls: unknown[] = [];
    const pulling = {
      local: { detect: async () => ({ kind: "store", reason: "x", tried: [] }) },
      images: { pullDetailed: async () => calls.push(1) && Promise.reject(new LadingError("denied", "no")) },
    };
    const argv = `pull image:a --config ${file}`;
    expect((await lading(argv, pulling)).code).toBe(78);
    expect(calls).toEqual([]);
    const env = { LADING_TIMEOUT: "1h" };
    expect((await lading(argv, pulling, recordedIo({ env }))).error).toMatchObject({ code: "denied" });
    expect((await lading(`${argv} --progress plain`, pulling, recordedIo({ env }))).error).toBeNull();
  });

  it.each([{ LADING_TIMEOUT: "soon" }, { LADING_PROGRESS: "loud" }])("refuses %j with 78", async (env) => {
    expect((await lading("digest image:app:1", digestOf(), recordedIo({ env }))).code).toBe(78);
  });

  it("makes every line of stderr an object with --progress json", async () => {
    const outcome = await lading("pull app:1 --progress json", {
      local: { detect: async () => ({ kind: "store", reason: "no other \u202eengine", tried: [] }) },
      images: { pullDetailed: async () => Promise.reject(new LadingError("unreachable", "down")) },
    });
    const types = outcome.stderr
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { type: string }).type);
    expect(types).toEqual(["warning", "warning", "error"]);
    expect(outcome.code).toBe(69);
    const usage = await lading("--progress json");
    expect(JSON.parse(usage.stderr)).toMatchObject({ type: "error" });
  });
});

describe("remote positions", () => {
  it.each(["app:1", "app", "alice/app:1"])("refuse the bare name %j and show both readings", async (name) => {
    for (const argv of [
      `digest ${name}`,
      `size ${name}`,
      `info ${name}`,
      `rm ${name}`,
      `push x:1 ${name}`,
      `copy image:x ${name}`,
    ]) {
      const outcome = await lading(`${argv} --json`);
      expect(outcome).toMatchObject({ code: 64, error: { code: "bad-reference" } });
      const shown = `${outcome.error?.message} ${outcome.error?.hint}`;
      expect(shown).toContain(`image:${name}`);
      expect(shown).toContain(`docker.io/${name.includes("/") ? "" : "library/"}${name}`);
    }
  });

  it.each(["image:app:1", "image://local/bob/app:1", "localhost/app:1", "localhost:5050/bob/app:1", "quay.io/o/app"])(
    "take %j",
    async (name) => {
      expect(await lading(`digest ${name}`, digestOf())).toMatchObject({ code: 0, stdout: `${digest}\n`, stderr: "" });
    },
  );

  it("read a bare name as Docker Hub's in pull, and say so first", async () => {
    const pulled: string[] = [];
    const images = {
      pullDetailed: async (remote: unknown) => {
        pulled.push(String(remote));
        throw new LadingError("not-found", "nothing there", { hint: "check the name" });
      },
    };
    const outcome = await lading("pull app:1", { images });
    expect(pulled).toEqual(["app:1"]);
    expect(outcome.stderr.split("\n")[0]).toContain("docker.io/library/app:1");
    expect(outcome.stderr.trim().split("\n").at(-1)).toMatch(/^hint: .*image:app:1/);
    expect(outcome.code).toBe(72);
    const quiet = await lading("pull app:1 --quiet", { images });
    expect(quiet.stderr).toMatch(/^lading: error: nothing there\nhint: /);
  });

  it("keep the cause of a cancelled pull, so that its exit code is right", async () => {
    const reason = new Interruption("SIGTERM");
    const images = { pullDetailed: async () => Promise.reject(abortError(AbortSignal.abort(reason))) };
    expect((await lading("pull app:1", { images })).code).toBe(143);
  });

  it("need a tag, a digest or --all-tags in rm", async () => {
    expect(await lading("rm image:app --json")).toMatchObject({ code: 64, error: { code: "usage" } });
    expect(await lading("rm --all-tags image:app:1 --json")).toMatchObject({ code: 64 });
  });

  it("begin a copy with a word of its own, and end it with what was moved", async () => {
    const json = {
      ...{ remote: "image://local/alice/app:1", reference: `localhost:5050/alice/app@${digest}` },
      ...{ blobs: { sent: 1, mounted: 0, existing: 2 }, bytesSent: 1500, unchanged: false, seconds: 0.5 },
    };
    const images = {
      copy: async (source: unknown, _destination: unknown, options: { progress: (event: unknown) => void }) => {
        options.progress({ type: "push", src: source, dst: source });
        return { ...resultOf(json), ...json };
      },
    };
    const outcome = await lading("copy quay.io/o/app:1 image:app:1", { images });
    expect(outcome.stdout).toBe(`localhost:5050/alice/app@${digest}\n`);
    expect(outcome.stderr.split("\n").slice(0, 2)).toEqual([
      "copy quay.io/o/app:1 -> image://local/alice/app:1",
      "copied image://local/alice/app:1: 1.5 kB in 1 blob sent, 0 mounted, 2 existing, 0.5 s",
    ]);
    const lines = (await lading("copy quay.io/o/app:1 image:app:1 --progress json", { images })).stderr.split("\n");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ type: "push" });
  });

  it("take no tag in tags", async () => {
    expect(await lading("tags image:app:1 --json")).toMatchObject({ code: 64, error: { code: "bad-reference" } });
  });
});

describe("push", () => {
  const json = {
    local: "app:1",
    remote: "image://local/alice/app:1",
    reference: `localhost:5050/alice/app@${digest}`,
    blobs: { sent: 2, mounted: 0, existing: 1 },
    bytesSent: 1_200_000,
    unchanged: false,
    seconds: 1.5,
  };

  it("hands over what was asked for, and prints the reference alone", async () => {
    const calls: unknown[] = [];
    const pushDetailed = async (local: unknown, remote: unknown, options: Record<string, unknown>) => {
      const { tags, noClobber, format } = options;
      calls.push([String(local), remote === null ? null : String(remote), { tags, noClobber, format }]);
      return resultOf(json);
    };
    const outcome = await lading("push app:1 --tag a -t b --no-clobber --format oci", { images: { pushDetailed } });
    expect(outcome).toMatchObject({ code: 0, stdout: `${json.reference}\n` });
    expect(outcome.stderr).toContain("1.2 MB");
    await lading("push app:1 image:x", { images: { pushDetailed } });
    expect(calls).toEqual([
      ["app:1", null, { tags: ["a", "b"], noClobber: true, format: "oci" }],
      ["app:1", "image://local/alice/x:latest", { tags: null, noClobber: false, format: null }],
    ]);
  });

  it("names an engine that is not Docker", async () => {
    const methods = {
      images: { pushDetailed: async () => resultOf(json) },
      local: { detect: async () => ({ kind: "podman", reason: "its socket answers", tried: [] }) },
    };
    expect((await lading("push app:1", methods)).stderr.split("\n")[0]).toMatch(/podman/);
    expect((await lading("push app:1 --quiet", methods)).stderr).toBe("");
  });

  it("needs a name for an image ID", async () => {
    expect(await lading(`push ${digest} --json`)).toMatchObject({ code: 64, error: { code: "usage" } });
  });
});

describe("several names", () => {
  const removals = (...rows: Record<string, unknown>[]) => ({
    dryRun: false,
    removals: rows.map((row) => ({
      digest,
      removes: "tag",
      tags: [],
      otherTags: [],
      indexes: [],
      referrers: [],
      needsForce: false,
      removed: true,
      error: null,
      ...row,
    })),
  });
  /** As the SDK gives it: values beside the JSON. */
  const removalResult = (json: ReturnType<typeof removals>) => ({
    ...json,
    removals: json.removals.map((row) => ({
      ...row,
      image: new RemoteImage({
        name: String((row as { image?: unknown }).image).replace(/^.*\/|:1$/g, ""),
        tag: "1",
        owner: "alice",
        clusterName: "local",
        registry: "localhost:5050",
      }),
    })),
    toJSON: () => json,
  });
  const missing = new LadingError("not-found", "missing").toJSON();
  const denied = new LadingError("denied", "no").toJSON();

  it("are all tried by rm, and the first failure decides", async () => {
    const result = removals(
      { image: "image://local/alice/a:1" },
      { image: "image://local/alice/b:1", digest: null, removed: false, error: missing },
      { image: "image://local/alice/c:1", removed: false, error: denied },
    );
    const images = { remove: async () => removalResult(result), planRemoval: async () => removalResult(result) };
    const plain = await lading("rm image:a:1 image:b:1 image:c:1", { images });
    expect(plain).toMatchObject({ code: 72, stdout: `a:1@${digest}\n` });
    const json = await lading("rm image:a:1 image:b:1 image:c:1 --json", { images });
    expect(json).toMatchObject({
      code: 72,
      stdout: "",
      error: { code: "not-found", image: "image://local/alice/b:1" },
    });
    const last = JSON.parse(json.stderr.trim().split("\n").at(-1) ?? "") as { result: { removals: unknown[] } };
    expect(last.result.removals).toHaveLength(3);
  });

  it("count in their order, also where one can't be read", async () => {
    const rows = removals(
      { image: "image://local/alice/a:1" },
      { image: "image://local/alice/b:1", digest: null, removed: false, error: missing },
    );
    const tried: string[] = [];
    const remove = async (given: readonly unknown[]) => {
      tried.push(...given.map(String));
      return removalResult(rows);
    };
    expect((await lading("rm image:a:1 bare image:b:1", { images: { remove } })).code).toBe(64);
    expect((await lading("rm image:a:1 image:b:1 bare", { images: { remove } })).code).toBe(72);
    expect(tried).toHaveLength(4);
  });

  it("are all tried by rmi", async () => {
    const removed: string[] = [];
    const remove = async (local: unknown) => {
      if (String(local) === "b:latest") throw new LadingError("conflict", "in use");
      removed.push(String(local));
    };
    const outcome = await lading("rmi a b c", { local: { remove } });
    expect(outcome).toMatchObject({ code: 73, stdout: "a:latest\nc:latest\n" });
    expect(removed).toEqual(["a:latest", "c:latest"]);
  });

  it("are not asked about without a terminal, and removed nothing in a dry run", async () => {
    const calls: string[] = [];
    const result = removals({ image: "image://local/alice/a:1", removed: false });
    const images = {
      planRemoval: async () => {
        calls.push("plan");
        return removalResult({ ...result, dryRun: true });
      },
      remove: async () => {
        calls.push("remove");
        return removalResult(removals({ image: "image://local/alice/a:1" }));
      },
    };
    expect(await lading("rm --dry-run image:a:1", { images })).toMatchObject({ code: 0 });
    expect(calls).toEqual(["plan"]);
    await lading("rm image:a:1", { images });
    expect(calls).toEqual(["plan", "remove"]);
  });
});

describe("tables", () => {
  const rows = [
    {
      tag: "v1",
      digest,
      mediaType: "m",
      size: 1_500_000,
      created: "2024-01-02T03:04:05Z",
      platforms: ["linux/amd64"],
      error: null,
    },
    {
      tag: "e\u202evil",
      digest: null,
      mediaType: null,
      size: null,
      created: null,
      platforms: null,
      error: missingRow(),
    },
  ];
  function missingRow() {
    return new LadingError("not-found", "gone").toJSON();
  }
  const images = {
    tagsDetailed: async () =>
      resultOf({ image: "image://local/alice/app", reference: "localhost:5050/alice/app", tags: rows }),
  };

  it("are bare tags without -l, the same on a terminal", async () => {
    const pipe = await lading("tags image:app", { images });
    const terminal = await lading(
      "tags image:app",
      { images },
      recordedIo({ stdout: new RecordedStream({ isTTY: true }) }),
    );
    expect(pipe.stdout).toBe("v1\ne\\u{202e}vil\n");
    expect(terminal.stdout).toBe(pipe.stdout);
    expect((await lading("tags image:app --full-ref", { images })).stdout.split("\n")[0]).toBe(
      "localhost:5050/alice/app:v1",
    );
  });

  it("have tabs in a pipe and columns on a terminal", async () => {
    const pipe = await lading("tags -l image:app", { images });
    expect(pipe.stdout.split("\n")[0]).toBe(`v1\t${digest}\t1500000\t2024-01-02T03:04:05Z\tlinux/amd64`);
    expect(pipe.stderr).toContain("gone");
    const io = recordedIo({ stdout: new RecordedStream({ isTTY: true }), env: { NO_COLOR: "1" } });
    const terminal = await lading("tags -l image:app", { images }, io);
    expect(terminal.stdout.split("\n")[0]).toMatch(/^TAG +DIGEST +SIZE +CREATED +PLATFORMS$/);
    expect(terminal.stdout).not.toContain("\u001b");
  });
});

describe("doctor", () => {
  const checks = [
    { id: "engine", status: "ok", message: "fine", hint: null, code: null },
    { id: "registry", status: "fail", message: "down", hint: "start it", code: "unreachable" },
    { id: "disk", status: "fail", message: "full", hint: null, code: "no-space" },
  ];
  const methods = { client: { doctor: async () => resultOf({ ok: false, version, engine: {}, checks }) } };

  it("prints what it found, and ends with the code of the first failed check", async () => {
    const plain = await lading("doctor", methods);
    expect(plain.code).toBe(69);
    expect(plain.stdout).toContain("fail  registry: down\n      start it\n");
    const json = await lading("doctor --json", methods);
    expect(json.code).toBe(69);
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false });
    expect(json.error).toMatchObject({ code: "unreachable" });
  });
});

describe("login", () => {
  it.each(["login", "login -u alice", "login --password-stdin"])(
    "refuses %j without a terminal at once",
    async (argv) => {
      expect(await lading(`${argv} --json`)).toMatchObject({ code: 64, error: { code: "usage" } });
    },
  );

  it("takes the password from stdin, without its newline, and never prints it", async () => {
    const calls: unknown[] = [];
    const client = {
      login: async ({ registry, username, password }: Record<string, unknown>) => {
        calls.push({ registry, username, password });
        return resultOf({ registry: "registry.example.org", username: "alice", storedIn: "config.json" });
      },
    };
    const io = recordedIo({ stdin: "canary secret\r\n" });
    const outcome = await lading("login registry.example.org -u alice --password-stdin --debug", { client }, io);
    expect(outcome.code).toBe(0);
    expect(calls).toEqual([{ registry: "registry.example.org", username: "alice", password: "canary secret" }]);
    expect(outcome.stdout + outcome.stderr).not.toContain("canary");
  });
});

describe("load and save", () => {
  it("take no terminal for an archive", async () => {
    expect((await lading("load", {}, recordedIo({ stdinIsTerminal: true }))).code).toBe(64);
    const io = recordedIo({ stdout: new RecordedStream({ isTTY: true }) });
    expect((await lading("save app:1", {}, io)).code).toBe(64);
    expect((await lading("save app:1 --as oci-dir")).code).toBe(64);
  });
});
