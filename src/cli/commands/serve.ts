import { isLadingError, LadingError, throwIfAborted } from "../../errors.js";
import { authorityOf } from "../../image/reference.js";
import type { CollectReport, Registry, ScrubReport } from "../../server/index.js";
import type { Implementation } from "../command.js";
import type { CommandContext } from "../command-context.js";
import { dataFolder } from "../data-folder.js";
import { openDecisionLog } from "../decision-log.js";
import { parseAge } from "../duration.js";
import { safeJson } from "../safe-text.js";
import { formatSize, parseSize } from "../size.js";

interface Options {
  readonly data?: string;
  readonly host?: string;
  readonly port: string;
  readonly open?: boolean;
  readonly sparse?: boolean;
  readonly accounts?: boolean;
  readonly url?: string;
  readonly trustProxy?: readonly string[];
  readonly log?: string;
  readonly gcInterval: string;
  readonly scrubInterval: string;
  readonly scrubRate: string;
  readonly automaticMount?: boolean;
  /** False for `--no-delete`. */
  readonly delete: boolean;
}

/** How long requests that are under way may take when the server is asked to end, in milliseconds. */
const grace = 10_000;

export const serve: Implementation<[], Options> = async (context, _args, options) => {
  const port = portOf(options.port);
  const gcInterval = parseAge(options.gcInterval);
  const scrub = { interval: parseAge(options.scrubInterval), rate: parseSize(options.scrubRate) || null };
  const directory = options.data ?? (await dataFolder(context));
  const { collectRegularly, createRegistry, folderHasAccounts, heldBy, holderOf, holdFolder, listen, scrubRegularly } =
    await import("../../server/index.js");
  throwIfAborted(context.signal);
  const isNew = !(await folderHasAccounts(directory));
  const accounts = options.accounts === true || !isNew;
  const log = options.log === undefined ? null : await openDecisionLog(options.log, context.io);
  const onError = (error: unknown) =>
    context.reporter.warning(`registry: ${error instanceof Error ? error.message : String(error)}`);
  const registry = createRegistry({
    storage: { directory },
    accounts: accounts && { url: options.url, onDecision: log?.write },
    sparse: options.sparse === true,
    ...(options.automaticMount === true ? { automaticMount: true } : {}),
    deletes: options.delete,
    onError,
  });
  try {
    const { host, trustProxy: trustedProxies } = options;
    const hostNames = options.url === undefined ? [] : [hostOf(options.url)];
    const server = await listen(registry, {
      ...{ port, host, hostNames, trustedProxies, open: options.open === true, onError },
    }).catch(async (error: unknown) => {
      // Most often the port is taken by a server of the same folder: then that is what should be said.
      const holder = isLadingError(error) && error.code === "conflict" ? await holderOf(directory) : null;
      throw holder === null ? error : heldBy(holder, directory);
    });
    try {
      const hold = await holdFolder(directory, { url: server.url });
      try {
        if (accounts) await registry.admitOperator();
        if (accounts && isNew) await makeFirstAdmin(registry, directory, context);
        const started = { url: server.url, urls: server.urls, data: directory, pid: process.pid };
        context.io.stdout.write(`${context.flags.json === true ? safeJson(started) : server.url}\n`);
        context.reporter.note(`serving ${directory}; Ctrl-C ends it`);
        const onCollected = ({ blobs, uploads }: CollectReport) => {
          const freed = blobs.removedBytes + uploads.removedBytes;
          if (freed > 0) context.reporter.note(`collected ${formatSize(freed)} that nothing named any more`);
        };
        const onScrubbed = ({ quarantined }: ScrubReport) => {
          for (const digest of quarantined) context.reporter.warning(`${digest} was corrupt, and is quarantined`);
        };
        const stops = [
          ...(gcInterval === 0
            ? []
            : [collectRegularly(registry.upkeep, gcInterval, { onReport: onCollected, onError })]),
          ...(scrub.interval === 0
            ? []
            : [scrubRegularly(registry.upkeep, { ...scrub, onReport: onScrubbed, onError })]),
        ];
        await fired(context.signal);
        await Promise.all(stops.map((stop) => stop()));
        context.reporter.note("ending: waiting for what is under way");
        await server.close(grace);
      } finally {
        await hold.release();
      }
    } finally {
      await server.close(0);
    }
  } finally {
    await registry.close();
    await log?.close();
  }
  return {};
};

/** The first admin's password goes to a file for this user alone, and to a terminal; never where a log may be. */
async function makeFirstAdmin(registry: Registry, directory: string, context: CommandContext): Promise<void> {
  const { io, reporter } = context;
  const { join } = await import("node:path");
  const { user, password } = await registry.initAccounts("admin", { keepPassword: true });
  const path = join(directory, "auth", "registry", "first-password");
  reporter.note(`made the account ${user}; its password, good for a day, is in ${path}`);
  if (io.stderr.isTTY === true) io.stderr.write(`password of ${user}: ${password}\n`);
}

function hostOf(url: string): string {
  return authorityOf(url).replace(/:\d+$/, "");
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new LadingError("usage", `${JSON.stringify(text)} is not a port`, { hint: "0 takes a free one" });
}

function fired(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
