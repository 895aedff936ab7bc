import { isLadingError, LadingError, throwIfAborted } from "../../errors.js";
import type { Implementation } from "../command.js";
import type { CommandContext } from "../command-context.js";
import { safeJson } from "../safe-text.js";

interface Options {
  readonly data?: string;
  readonly host?: string;
  readonly port: string;
  readonly open?: boolean;
  readonly sparse?: boolean;
}

/** How long requests that are under way may take when the server is asked to end, in milliseconds. */
const grace = 10_000;

export const serve: Implementation<[], Options> = async (context, _args, options) => {
  const port = portOf(options.port);
  const directory = options.data ?? (await dataFolder(context));
  const { createRegistry, heldBy, holderOf, holdFolder, listen } = await import("../../server/index.js");
  throwIfAborted(context.signal);
  const onError = (error: unknown) =>
    context.reporter.warning(`registry: ${error instanceof Error ? error.message : String(error)}`);
  const registry = createRegistry({ storage: { directory }, sparse: options.sparse === true, onError });
  try {
    const server = await listen(registry, { port, host: options.host, open: options.open === true, onError }).catch(
      async (error: unknown) => {
        // Most often the port is taken by a server of the same folder: then that is what should be said.
        const holder = isLadingError(error) && error.code === "conflict" ? await holderOf(directory) : null;
        throw holder === null ? error : heldBy(holder, directory);
      },
    );
    try {
      const hold = await holdFolder(directory, { url: server.url });
      try {
        const started = { url: server.url, urls: server.urls, data: directory, pid: process.pid };
        context.io.stdout.write(`${context.flags.json === true ? safeJson(started) : server.url}\n`);
        context.reporter.note(`serving ${directory}; Ctrl-C ends it`);
        await fired(context.signal);
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
  }
  return {};
};

/** The folder of the current cluster where it has one, else that of the cluster `local`. */
async function dataFolder(context: CommandContext): Promise<string> {
  const config = await context.config();
  const folder = config.clusters[config.cluster]?.data ?? config.clusters.local?.data;
  if (folder) return folder;
  throw new LadingError("config-invalid", "no cluster of the configuration has a folder to serve", {
    hint: "name one with --data, or set clusters.local.data",
  });
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
