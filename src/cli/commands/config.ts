import type { Config } from "../../config/config.js";
import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import type { CommandContext } from "../command-context.js";
import { progressMode, readFileSettings, timeLimit } from "../global-flags.js";
import { safeText } from "../safe-text.js";

/** What `config show` prints: the configuration in effect, without values that are programs. */
async function plainConfig(context: CommandContext) {
  const { flags, io } = context;
  const config: Config = await context.config();
  const file = await readFileSettings(flags, io.env);
  const limit = timeLimit(flags, io.env, file);
  const { cluster, owner, org, engine, store, platform, insecure, ca, concurrency, cacheLimit, limitRate } = config;
  const clusters = Object.fromEntries(
    Object.entries(config.clusters).map(([name, { registryUrl, data, authHosts }]) => [
      name,
      { registryUrl, data: data ?? null, authHosts: authHosts ?? [] },
    ]),
  );
  return {
    ...{ cluster, owner, org, engine, store, platform, insecure, ca },
    progress: progressMode(flags, io.env, file),
    /** Seconds. */
    timeout: limit === null ? null : limit / 1000,
    ...{ concurrency, cacheLimit, limitRate, clusters },
  };
}

type Leaf = string | number | boolean | null | readonly string[];

/** `cluster`, `clusters.main.registryUrl`, … with their values. */
function* leaves(value: unknown, path = ""): Generator<readonly [key: string, value: Leaf]> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) yield* leaves(inner, path === "" ? key : `${path}.${key}`);
  } else yield [path, value as Leaf];
}

function shown(value: Leaf): string {
  return value === null ? "" : Array.isArray(value) ? value.join(",") : String(value);
}

export const show: Implementation<[], unknown> = async (context) => {
  const json = await plainConfig(context);
  return { json, lines: [...leaves(json)].map(([key, value]) => safeText(`${key} = ${shown(value)}`)) };
};

export const get: Implementation<[key: string], unknown> = async (context, [key]) => {
  const all = [...leaves(await plainConfig(context))];
  const exact = all.find(([name]) => name === key);
  if (exact !== undefined) return { json: { key, value: exact[1] }, lines: [safeText(shown(exact[1]))] };
  throw new LadingError("usage", `there is no ${JSON.stringify(key)} in the configuration`, {
    hint: `for example ${all
      .slice(0, 3)
      .map(([name]) => name)
      .join(", ")}; \`lading config show\` lists all`,
  });
};

const textKeys: ReadonlySet<string> = new Set([
  ...["cluster", "owner", "org", "engine", "store", "ca", "platform", "progress", "timeout", "cacheLimit", "limitRate"],
]);

/** How a value is read: the file checks the rest when it is written. */
function changeOf(key: string, value: string): Readonly<Record<string, unknown>> {
  const list = () => value.split(/[\s,]+/).filter((entry) => entry !== "");
  const [first = "", second = "", third = "", ...more] = key.split(".");
  if (textKeys.has(key)) return { [key]: value };
  if (key === "insecure") return { insecure: list() };
  if (more.length === 0 && first === "concurrency" && second !== "" && third === "") {
    return { concurrency: { [second]: Number(value) } };
  }
  if (more.length === 0 && first === "clusters" && second !== "") {
    if (third === "registryUrl" || third === "data") return { clusters: { [second]: { [third]: value } } };
    if (third === "authHosts") return { clusters: { [second]: { authHosts: list() } } };
  }
  throw new LadingError("usage", `${JSON.stringify(key)} is no key of the configuration`, {
    hint: "for example owner, cluster, insecure, concurrency.blobs or clusters.NAME.registryUrl",
  });
}

async function write(context: CommandContext, changes: Readonly<Record<string, unknown>>): Promise<string> {
  const { configPath, writeConfigFile } = await import("../../config/file.js");
  const path = context.flags.config ?? configPath(context.io.env);
  await writeConfigFile(path, changes);
  context.reporter.note(`written to ${path}`);
  return path;
}

export const set: Implementation<[key: string, value: string], unknown> = async (context, [key, value]) => {
  const path = await write(context, changeOf(key, value));
  return { json: { path, key, value }, lines: [] };
};

export const use: Implementation<[cluster: string], unknown> = async (context, [cluster]) => {
  const { clusters } = await context.config();
  if (!Object.hasOwn(clusters, cluster)) {
    throw new LadingError("config-invalid", `there is no cluster ${JSON.stringify(cluster)}`, {
      hint: `known are ${Object.keys(clusters).join(", ")}; \`lading config set clusters.${cluster}.registryUrl URL\` adds one`,
    });
  }
  const path = await write(context, { cluster });
  return { json: { path, cluster }, lines: [] };
};
