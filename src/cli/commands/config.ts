import type { Config } from "../../config/config.js";
import { LadingError } from "../../errors.js";
import type { Implementation } from "../command.js";
import { safeText } from "../safe-text.js";
import { parseSize } from "../size.js";

/** What `config show` prints: the configuration in effect, without values that are programs. */
function plainConfig(config: Config) {
  const { cluster, owner, org, engine, store, platform, insecure, ca, concurrency, cacheLimit } = config;
  const clusters = Object.fromEntries(
    Object.entries(config.clusters).map(([name, { registryUrl, data, authHosts }]) => [
      name,
      { registryUrl, data: data ?? null, authHosts: authHosts ?? [] },
    ]),
  );
  return { cluster, owner, org, engine, store, platform, insecure, ca, concurrency, cacheLimit, clusters };
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
  const client = await context.client();
  const json = plainConfig(client.config);
  return { json, lines: [...leaves(json)].map(([key, value]) => safeText(`${key} = ${shown(value)}`)) };
};

export const get: Implementation<[key: string], unknown> = async (context, [key]) => {
  const client = await context.client();
  const all = [...leaves(plainConfig(client.config))];
  const exact = all.find(([name]) => name === key);
  if (exact !== undefined) return { json: { key, value: exact[1] }, lines: [safeText(shown(exact[1]))] };
  throw new LadingError("usage", `there is no ${JSON.stringify(key)} in the configuration`, {
    hint: `for example ${all.slice(0, 3).map(([name]) => name).join(", ")}; \`lading config show\` lists all`,
  });
};
