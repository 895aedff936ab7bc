import { LadingError, throwIfAborted } from "../../errors.js";
import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";

interface Options {
  readonly data?: string;
  readonly host?: string;
  readonly port: string;
  readonly open?: boolean;
}

/** How long requests that are under way may take when the server is asked to end, in milliseconds. */
const grace = 10_000;

export const serve: Implementation<[], Options> = async (context, _args, options) => {
  const port = portOf(options.port);
  const host = options.host;
  if (host !== undefined && !isLoopback(host) && options.open !== true) {
    throw new LadingError("usage", `${host} can be reached by others, who could push and delete without an account`, {
      hint: "leave --host out, or allow it with --open",
    });
  }
  const directory = options.data ?? (await dataFolder(context.clientOptions));
  const { createRegistry, holdFolder, listen } = await import("../../server/index.js");
  throwIfAborted(context.signal);
  const registry = createRegistry({
    storage: { directory },
    onError: (error) => context.reporter.warning(`registry: ${error instanceof Error ? error.message : String(error)}`),
  });
  try {
    const server = await listen(registry, { port, ...(host === undefined ? {} : { host }) });
    try {
      const hold = await holdFolder(directory, { url: server.url });
      try {
        context.io.stdout.write(context.flags.json === true ? `${JSON.stringify({ url: server.url, urls: server.urls, data: directory, pid: process.pid })}\n` : `${server.url}\n`);
        context.reporter.note(`serving ${safeText(directory)}; Ctrl-C ends it`);
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

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new LadingError("usage", `${JSON.stringify(text)} is not a port`, { hint: "0 takes a free one" });
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function fired(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
