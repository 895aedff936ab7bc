import { access, constants, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { type CredentialSource, credentialSources } from "../config/credentials.js";
import type { EngineAttempt, EngineKind, EngineMoves } from "../engines/engine.js";
import { type ErrorCode, isLadingError, throwIfAborted } from "../errors.js";
import { authorityOf } from "../image/reference.js";
import { formatPlatform } from "../oci/platform.js";
import type { RegistryClient } from "../registry/client.js";
import { rateBudgetText } from "../registry/rate-budget.js";
import { version } from "../version.js";
import type { CallOptions, ClientContext } from "./context.js";

/** Options of `doctor`. */
export interface DoctorOptions extends CallOptions {
  /** Looks at this cluster's registry. Default: the current one. */
  readonly cluster?: string | null | undefined;
}

/** One thing that `doctor` looked at. */
export interface DoctorCheck {
  readonly id: string;
  readonly status: "ok" | "warn" | "fail" | "skip";
  readonly message: string;
  /** What to do about it; null where nothing is wrong. */
  readonly hint: string | null;
  readonly code: ErrorCode | null;
}

/** The result of `doctor` as JSON; `ok` where no check failed. */
export interface DoctorJson {
  readonly ok: boolean;
  readonly version: string;
  readonly engine: {
    readonly chosen: EngineKind | null;
    readonly tried: readonly EngineAttempt[];
  };
  readonly checks: readonly DoctorCheck[];
}

/** What `doctor` found. */
export interface DoctorResult extends DoctorJson {
  toJSON(): DoctorJson;
}

/** Free bytes below which the disk is worth a warning: a small image's. */
const littleSpace = 1_000_000_000;
/** Milliseconds that this clock may differ from the registry's before tokens are refused. */
const clockTolerance = 60_000;

/** Looks at all that a transfer needs; a check that fails ends none of the others. */
export async function doctor(
  context: ClientContext,
  options: DoctorOptions,
  signal: AbortSignal,
): Promise<DoctorResult> {
  const checks: DoctorCheck[] = [
    ok("node", `Lading ${version} on Node ${process.versions.node}, ${process.platform}/${process.arch}`),
  ];
  const engine = await checkEngine(context, checks, signal);
  await checkRegistry(context, options, checks, signal);
  await checkStore(context, checks);
  // What failed because it was to stop says nothing about the machine.
  throwIfAborted(signal);
  const json: DoctorJson = { ok: checks.every(({ status }) => status !== "fail"), version, engine, checks };
  return { ...json, toJSON: () => json };
}

function ok(id: string, message: string): DoctorCheck {
  return { id, status: "ok", message, hint: null, code: null };
}

function warn(id: string, message: string, hint: string): DoctorCheck {
  return { id, status: "warn", message, hint, code: null };
}

function failed(id: string, error: unknown): DoctorCheck {
  if (!isLadingError(error)) {
    const message = error instanceof Error ? error.message : String(error);
    return { id, status: "fail", message, hint: null, code: "internal" };
  }
  return { id, status: "fail", message: error.message, hint: error.hint, code: error.code };
}

async function checkEngine(
  context: ClientContext,
  checks: DoctorCheck[],
  signal: AbortSignal,
): Promise<DoctorJson["engine"]> {
  try {
    const { engine, kind, reason, tried } = await context.engine(signal);
    const info = await engine.info(signal);
    const details = [
      info.version === null ? null : `version ${info.version}`,
      info.apiVersion === null ? null : `API ${info.apiVersion}`,
      `images in ${info.imageStore}`,
      waysOut[info.moves],
      formatPlatform(info.platform),
    ].filter((part) => part !== null);
    checks.push(ok("engine", `${kind} at ${info.endpoint} (${reason}): ${details.join(", ")}`));
    await checkReach(context, kind, info.endpoint, checks);
    return { chosen: kind, tried };
  } catch (error) {
    checks.push(failed("engine", error));
    return { chosen: null, tried: [] };
  }
}

const waysOut: Readonly<Record<EngineMoves, string | null>> = {
  files: null,
  folders: "its layers are read out of its folders",
  "by-itself": "it pushes and pulls by itself",
  archive: "images go by export and load",
};

/** An engine in a machine of its own does not see this host's loopback. */
async function checkReach(
  context: ClientContext,
  kind: EngineKind,
  endpoint: string,
  checks: DoctorCheck[],
): Promise<void> {
  if (kind === "store" || !/desktop|colima|\.rd\/|orbstack|\/run\/user\/|\.docker\/run|podman-machine/.test(endpoint))
    return;
  const url = context.config.clusters[context.config.cluster]?.registryUrl ?? "";
  if (!/^https?:\/\/(localhost|127\.|\[::1\])/.test(url)) return;
  checks.push(
    warn(
      "engine-network",
      `${kind} at ${endpoint} runs in a network of its own: \`docker pull ${authorityOf(url)}/…\` can't work there`,
      "`lading pull` works: it moves the image through this process",
    ),
  );
}

async function checkRegistry(
  context: ClientContext,
  options: DoctorOptions,
  checks: DoctorCheck[],
  signal: AbortSignal,
): Promise<void> {
  const cluster = options.cluster ?? context.config.cluster;
  try {
    const client = await context.registry({ cluster });
    const { date, inProcess } = await client.ping({ signal, fetchCredentials: options.fetchCredentials ?? undefined });
    const where = inProcess ? "in this process" : "over the network";
    checks.push(ok("registry", `cluster ${cluster}: ${client.authority} answers (${where})`));
    if (date !== null) {
      const difference = Math.abs(date.getTime() - Date.now());
      checks.push(
        difference <= clockTolerance
          ? ok("clock", "this clock and the registry's agree")
          : warn(
              "clock",
              `this clock and the registry's differ by ${Math.round(difference / 1000)} s`,
              "set the clock: tokens are refused when it is wrong",
            ),
      );
    } else checks.push({ ...ok("clock", "the registry does not say its time"), status: "skip" });
    const asked = options.fetchCredentials || context.fetchesCredentials;
    const sources = asked ? [] : await credentialSources(client.authority, context.env);
    checks.push(
      asked
        ? ok("credentials", `for ${client.authority}: this program answers for them`)
        : sources.length > 0
          ? ok("credentials", `for ${client.authority}: ${sources.map(describeSource).join(", ")}`)
          : ok("credentials", `none for ${client.authority}: requests are anonymous`),
    );
    await checkBudget(client, options, checks, signal);
  } catch (error) {
    checks.push(failed("registry", error));
  }
}

/** How often the registry may still be asked, where it counts. */
async function checkBudget(
  client: RegistryClient,
  { fetchCredentials }: DoctorOptions,
  checks: DoctorCheck[],
  signal: AbortSignal,
): Promise<void> {
  const id = "rate-limit";
  try {
    const budget = await client.askBudget({ signal, fetchCredentials: fetchCredentials ?? undefined });
    if (budget === null) {
      checks.push({ ...ok(id, `${client.authority} does not say that it counts requests`), status: "skip" });
      return;
    }
    const message = `${client.authority}: ${rateBudgetText(budget)}`;
    checks.push(
      budget.remaining > budget.limit / 10
        ? ok(id, message)
        : warn(id, message, `wait, or log in for a larger allowance: lading login ${client.authority}`),
    );
  } catch (error) {
    const { message, hint } = failed(id, error);
    checks.push(warn(id, message, hint ?? "try again later"));
  }
}

/** Where a credential would come from; never what it is. */
function describeSource({ origin, helper, isInstalled }: CredentialSource): string {
  if (helper === null) return origin;
  return `${origin} (helper ${helper}${isInstalled ? "" : ", which is not installed"})`;
}

async function checkStore(context: ClientContext, checks: DoctorCheck[]): Promise<void> {
  const directory = context.config.store;
  const existing = await nearest(directory);
  try {
    await access(existing, constants.W_OK);
    const { bavail, bsize } = await statfs(existing);
    const free = bavail * bsize;
    const message = `${gigabytes(free)} free for ${directory}`;
    checks.push(
      free >= littleSpace ? ok("disk", message) : warn("disk", message, "free disk space, or use --store DIR"),
    );
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    checks.push({
      id: "disk",
      status: "fail",
      message: `the store ${directory} can't be written: ${reason}`,
      hint: "choose another folder with --store",
      code: "io",
    });
    return;
  }
  if (existing !== directory) {
    checks.push(ok("store", `${directory} does not exist yet`));
    return;
  }
  try {
    const { own, cache, partial } = await (await context.store()).sizes();
    const sizes = `images ${gigabytes(own)}, cache ${gigabytes(cache)}, unfinished ${gigabytes(partial)}`;
    checks.push(ok("store", `${directory}: ${sizes}`));
  } catch (error) {
    checks.push(failed("store", error));
  }
}

async function nearest(directory: string): Promise<string> {
  for (let path = directory; ; path = dirname(path)) {
    try {
      await stat(path);
      return path;
    } catch {
      if (path === dirname(path)) return path;
    }
  }
}

function gigabytes(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  return bytes < 1e6
    ? `${(bytes / 1e3).toFixed(1)} kB`
    : bytes < 1e9
      ? `${(bytes / 1e6).toFixed(1)} MB`
      : `${(bytes / 1e9).toFixed(1)} GB`;
}
