import { join } from "node:path";
import { LadingError } from "../errors.js";
import { configHome, type Environment, homeDirectory, type System, thisSystem, variable } from "./folders.js";
import { fileSource, readSettings } from "./settings.js";
import { readSmallFile, updateFile } from "./update-file.js";

/** Keys and values of a configuration file as they are written there. */
export type ConfigTable = Record<string, unknown>;

/** Where the configuration file is: `LADING_CONFIG`, else `$XDG_CONFIG_HOME/lading/config.toml`. */
export function configPath(env: Environment, system: System = thisSystem): string {
  return variable(env, "LADING_CONFIG") ?? join(configHome(env, system), "lading", "config.toml");
}

/**
 * The file's content, not checked beyond its being TOML; null where there is no file.
 * @throws LadingError `config-invalid`
 */
export async function readConfigFile(path: string): Promise<ConfigTable | null> {
  const file = await readSmallFile(path);
  return file === null ? null : await parseTable(file.text, path);
}

/**
 * Merges changes into the file (null removes a key, a table is merged) and checks the outcome before it is written:
 * 0600, by temporary file and rename, a symbolic link stays one. Keys that Lading does not know are kept; comments and
 * layout are not.
 * @throws LadingError `config-invalid` where the outcome is not valid, and then nothing is written; `io`, `no-space`
 */
export async function writeConfigFile(path: string, changes: Readonly<Record<string, unknown>>): Promise<void> {
  const { stringify } = await import("smol-toml");
  await updateFile(path, async (current) => {
    const merged = merge(current === null ? {} : await parseTable(current, path), changes);
    readSettings(merged, fileSource(path, homeDirectory({})));
    return stringify(merged);
  });
}

async function parseTable(text: string, path: string): Promise<ConfigTable> {
  const { parse, TomlError } = await import("smol-toml");
  try {
    return parse(text, { integersAsBigInt: "asNeeded", unsafeKeyBehaviour: "throw", maxDepth: 32 });
  } catch (error) {
    // Neither the parser's message nor the error itself: both quote the file, which may hold a secret.
    const where = error instanceof TomlError ? `line ${error.line}, column ${error.column}` : "its content";
    throw new LadingError("config-invalid", `${path} is not valid TOML at ${where}`, {
      hint: 'a key looks like owner = "alice", a table like [clusters.main]',
    });
  }
}

function merge(table: ConfigTable, changes: Readonly<Record<string, unknown>>): ConfigTable {
  const merged = { ...table };
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) continue;
    if (value === null) delete merged[key];
    else if (isTable(value)) merged[key] = merge(isTable(merged[key]) ? merged[key] : {}, value);
    else merged[key] = value;
  }
  return merged;
}

/** A table, and none of the other objects of TOML: lists and dates. */
function isTable(value: unknown): value is ConfigTable {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
