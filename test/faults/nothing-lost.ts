import { expect } from "vitest";
import { asLadingError, exitCode } from "../../src/cli/exit-code.js";
import { type ErrorCode, isLadingError } from "../../src/errors.js";
import { brokenImages } from "./broken-images.js";
import { independentPull, type PulledImage } from "./independent-pull.js";
import { leftBehind } from "./left-behind.js";
import { wrongBlobs } from "./stored-blobs.js";
import { type TagMap, tagMap } from "./tag-map.js";
import { whereFound } from "./where-found.js";

/** The invariants of `threats-and-faults.md`, section 11. */
export const checkNames = ["N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9"] as const;
export type Check = (typeof checkNames)[number];

/** Peak memory of a process, whatever it moves, in bytes. */
export const memoryBound = 256 * 1024 * 1024;

/** How a child process ended. */
export interface Ended {
  /** Null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A row's evidence: what each check that applies has to look at. A check is made where its key is there. */
export interface Evidence {
  /** Every stored blob hashes to its name: folders of stores and registries (ours, Debian's), or content in memory. */
  readonly N1?: readonly (string | ReadonlyMap<string, Uint8Array>)[];
  /**
   * Every tag resolves to an image that is whole, down to the diff IDs: folders of stores, and repositories as
   * `http://127.0.0.1:PORT/owner/name`.
   */
  readonly N2?: readonly string[];
  /**
   * The tag map of a place (as for N2) is what it was before, or, where the operation may have succeeded, what it is
   * after success; never a third one. {@link tagMap} makes the one before.
   */
  readonly N3?: { readonly place: string; readonly before: TagMap; readonly success?: TagMap };
  /** Everything that was acknowledged is there byte for byte, after a restart where the registry can be restarted. */
  readonly N4?: {
    /** `http://127.0.0.1:PORT/owner/name` */
    readonly repository: string;
    /** Digests of blobs that were answered with 201. */
    readonly blobs: readonly string[];
    /** Tags or digests of manifests that were answered with 201. */
    readonly manifests: readonly string[];
    /** Restarts the registry and says where the repository is then. */
    readonly restart?: () => Promise<string>;
  };
  /** Nothing lies about: no temporary file, no upload session, and exactly `partials` downloads that wait to go on. */
  readonly N5?: {
    readonly folders: readonly string[];
    /** @default 0 */
    readonly partials?: number;
    /** Open sessions of a registry in memory, such as `registry.uploads`. */
    readonly sessions?: { readonly size: number };
  };
  /** Secrets that were in use are in no output and in no file. */
  readonly N6?: {
    readonly secrets: readonly [string, ...string[]];
    /** All that was printed, logged or thrown. */
    readonly texts: readonly [unknown, ...unknown[]];
    readonly folders?: readonly string[];
  };
  /** The process ended by itself with the right code, said why in JSON, and showed no stack; or an error has the code. */
  readonly N7?:
    | { readonly run: Ended; readonly exit: number; readonly code?: ErrorCode }
    | { readonly error: unknown; readonly code: ErrorCode };
  /** Peak memory of a child in bytes, as its kernel counts it: `report.peak` of a faulty process. */
  readonly N8?: { readonly peak: number };
  /** An independent tool pulls the result and gets the same digest. */
  readonly N9?: PulledImage;
}

/** What {@link nothingLost} has found in order. */
export interface Verdict {
  readonly checked: readonly Check[];
  /** Checks that could not be made here, with the reason. */
  readonly skipped: Readonly<Record<string, string>>;
}

const verdicts = new WeakSet<object>();

/** Whether this came from {@link nothingLost}. */
export function isVerdict(value: unknown): value is Verdict {
  return typeof value === "object" && value !== null && verdicts.has(value);
}

/** Checks N1-N9 as far as there is evidence. The one end of every fault's test; throws at the first that does not hold. */
export async function nothingLost(evidence: Evidence): Promise<Verdict> {
  const skipped: Record<string, string> = {};
  const { N1, N2, N3, N4, N5, N6, N7, N8, N9 } = evidence;
  if (N1 !== undefined) {
    expect(N1.length, "N1 looks somewhere").toBeGreaterThan(0);
    for (const place of N1) expect(await wrongBlobs(place), "N1: blobs that are not what they are called").toEqual([]);
  }
  if (N2 !== undefined) {
    expect(N2.length, "N2 looks somewhere").toBeGreaterThan(0);
    for (const place of N2) expect(await brokenImages(place), "N2: tags whose image is not whole").toEqual([]);
  }
  if (N3 !== undefined) {
    const now = await tagMap(N3.place);
    const allowed = [N3.before, ...(N3.success === undefined ? [] : [N3.success])];
    expect(allowed, "N3: the tags are those before, or those after success").toContainEqual(now);
  }
  if (N4 !== undefined) {
    expect(N4.blobs.length + N4.manifests.length, "N4: something was acknowledged").toBeGreaterThan(0);
    const repository = (await N4.restart?.()) ?? N4.repository;
    const { pathname, origin } = new URL(repository);
    const wanted = [
      ...N4.blobs.map((digest) => `blobs/${digest}`),
      ...N4.manifests.map((reference) => `manifests/${reference}`),
    ];
    expect(await wrongAnswers(`${origin}/v2${pathname}`, wanted), "N4: acknowledged, and not there").toEqual([]);
  }
  if (N5 !== undefined) {
    expect(N5.folders.length + (N5.sessions === undefined ? 0 : 1), "N5 looks somewhere").toBeGreaterThan(0);
    const left = await Promise.all(N5.folders.map(leftBehind));
    expect(
      left.flatMap(({ other }) => other),
      "N5: left behind",
    ).toEqual([]);
    const partials = left.flatMap((folder) => folder.partials);
    expect(partials, `N5: ${N5.partials ?? 0} partial downloads`).toHaveLength(N5.partials ?? 0);
    expect(N5.sessions?.size ?? 0, "N5: upload sessions left").toBe(0);
  }
  if (N6 !== undefined) {
    const { secrets, texts, folders = [] } = N6;
    expect(await whereFound(secrets, texts, folders), "N6: places where a secret is").toEqual([]);
  }
  if (N7 !== undefined) checkEnd(N7);
  if (N8 !== undefined) {
    expect(N8.peak, "N8: the peak was measured").toBeGreaterThan(0);
    expect(N8.peak, "N8: peak memory in bytes").toBeLessThanOrEqual(memoryBound);
  }
  if (N9 !== undefined) {
    const reason = await independentPull(N9);
    if (reason !== null) skipped.N9 = reason;
  }
  const checked = checkNames.filter((name) => evidence[name] !== undefined);
  const verdict: Verdict = { checked, skipped };
  verdicts.add(verdict);
  return verdict;
}

const stack = /\n\s+at .+:\d+:\d+/;

function checkEnd(end: NonNullable<Evidence["N7"]>): void {
  if ("error" in end) {
    expect(isLadingError(end.error), `N7: ${String(end.error)} is one of ours`).toBe(true);
    const error = asLadingError(end.error);
    expect(error.code, `N7: ${error.message}`).toBe(end.code);
    // What the command line would print and end with.
    expect(JSON.stringify(error), "N7: no stack in what people see").not.toMatch(stack);
    expect(exitCode(error), "N7: exit code").toBeGreaterThan(0);
    return;
  }
  const { run, exit, code } = end;
  expect(run.code, `N7: exit code\n${run.stderr}`).toBe(exit);
  expect(run.stderr, "N7: no stack").not.toMatch(stack);
  if (code === undefined) return;
  const last = run.stderr.trimEnd().split("\n").at(-1) ?? "";
  expect(JSON.parse(last), "N7: the error as JSON").toMatchObject({ error: { code, exit } });
}

/** Reads with none of our code: what does not answer 200 with content of its own digest. */
async function wrongAnswers(base: string, paths: readonly string[]): Promise<readonly string[]> {
  const { createHash } = await import("node:crypto");
  const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";
  const wrong: string[] = [];
  for (const path of paths) {
    const response = await fetch(`${base}/${path}`, { headers: { accept } });
    const bytes = Buffer.from(await response.arrayBuffer());
    const [, algorithm, hex] = /(sha256|sha512):([0-9a-f]+)$/.exec(
      /:[0-9a-f]{64}/.test(path) ? path : (response.headers.get("docker-content-digest") ?? ""),
    ) ?? [null, "sha256", ""];
    const found = createHash(algorithm ?? "sha256")
      .update(bytes)
      .digest("hex");
    if (response.status !== 200 || found !== hex) wrong.push(`${path}: ${response.status}, ${found}`);
  }
  return wrong;
}
