import { LadingError } from "../errors.js";
import type { RegistryClient } from "../registry/client.js";
import type { Accounts } from "../server/index.js";
import type { CommandContext } from "./command-context.js";
import { dataFolder } from "./data-folder.js";

/** Where the accounts are that a verb is about: flags of all of these verbs. */
export interface AccountsPlace {
  /** A registry's folder. */
  readonly data?: string;
  /** A registry that is served elsewhere, with the credentials of `lading login`. */
  readonly registry?: string;
}

/**
 * Gives a task the accounts of a folder, through its server where there is one, or those of a registry elsewhere.
 * @throws LadingError `usage`, `conflict`, `not-found`, …
 */
export async function withAccounts<T>(
  context: CommandContext,
  { data, registry: host }: AccountsPlace,
  task: (accounts: Accounts) => Promise<T>,
): Promise<T> {
  if (data !== undefined && host !== undefined) {
    throw new LadingError("usage", "--data names a folder and --registry a server: only one of them can be meant");
  }
  if (host !== undefined) return await throughLogin(context, host, task);
  const directory = data ?? (await dataFolder(context));
  const { createRegistry, folderHasAccounts, holderOf, isAnswering, operatorSecret } = await import(
    "../server/index.js"
  );
  const holder = await holderOf(directory);
  if (holder !== null) {
    const client = await clientOf(context, reachable(holder.url));
    try {
      const ask = async ({ method, url }: { method: string; url: string }) => {
        const { status, headers, body } = await client.request(method as "GET", new URL(url).pathname, {
          signal: context.signal,
        });
        return { status, headers, body: once(body) };
      };
      if (await isAnswering({ ...holder, url: reachable(holder.url) }, ask, context.signal)) {
        const secret = await operatorSecret(directory);
        if (secret === null) {
          throw new LadingError("conflict", `${directory} is served without accounts, at ${holder.url}`, {
            hint: "stop that server, and start it again once there are accounts",
          });
        }
        return await task(await remote(context, client, `Bearer ${secret}`));
      }
    } finally {
      client.close();
    }
  }
  if (!(await folderHasAccounts(directory))) {
    throw new LadingError("not-found", `${directory} has no accounts yet`, {
      hint: "`lading registry init` makes the first one",
    });
  }
  const registry = createRegistry({ storage: { directory }, accounts: true });
  try {
    return await task(await registry.accounts());
  } finally {
    await registry.close();
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** What listens on all addresses is reached on this machine's own. */
function reachable(url: string): string {
  return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
}

/** The server of a folder of this machine: it speaks plain HTTP, and no proxy stands before it. */
async function clientOf(context: CommandContext, url: string): Promise<RegistryClient> {
  const { RegistryClient } = await import("../registry/client.js");
  return new RegistryClient({
    url,
    fetchCredentials: () => Promise.resolve(null),
    insecure: true,
    perHost: 2,
    env: {},
    onWarning: (text) => context.reporter.warning(text),
  });
}

async function throughLogin<T>(
  context: CommandContext,
  host: string,
  task: (accounts: Accounts) => Promise<T>,
): Promise<T> {
  const [{ RegistryConnections }, { dockerCredentials }, { basicAuthorization }] = await Promise.all([
    import("../operations/registry-connections.js"),
    import("../config/credentials.js"),
    import("../registry/token.js"),
  ]);
  const onWarning = (text: string) => context.reporter.warning(text);
  const { env } = context.io;
  const connections = new RegistryConnections({
    config: await context.config(),
    env,
    fetchCredentials: null,
    onWarning,
    onDebug: context.flags.debug === true ? (text) => context.reporter.debug(text) : null,
  });
  try {
    const client = await connections.registry({ host });
    const fetchCredentials = dockerCredentials({ env, onWarning });
    const credential = await fetchCredentials({
      registry: client.authority,
      repository: null,
      actions: [],
      side: null,
      signal: context.signal,
    });
    const authorization =
      credential !== null && "registryToken" in credential
        ? `Bearer ${credential.registryToken}`
        : basicAuthorization(credential);
    if (authorization === null) {
      throw new LadingError("unauthorized", `there are no credentials for ${client.authority}`, {
        hint: `lading login ${client.authority}`,
      });
    }
    return await task(await remote(context, client, authorization));
  } finally {
    await connections.close();
  }
}

async function remote(context: CommandContext, client: RegistryClient, authorization: string): Promise<Accounts> {
  const { remoteAccounts } = await import("../server/index.js");
  return remoteAccounts(async ({ method, path, body }) => {
    const bytes = body === null ? null : Buffer.from(JSON.stringify(body));
    const length = bytes === null ? {} : { "content-type": "application/json", "content-length": String(bytes.length) };
    const answer = await client.request(method, path, {
      headers: { accept: "application/json", authorization, ...length },
      ...(bytes === null ? {} : { body: bytes }),
      signal: context.signal,
    });
    let value: unknown = null;
    try {
      value = JSON.parse(Buffer.from(answer.body).toString("utf8"));
    } catch {
      // no answer of ours: its status says all that there is to say
    }
    return { status: answer.status, value };
  });
}
