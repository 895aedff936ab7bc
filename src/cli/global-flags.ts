import { LadingError } from "../errors.js";
import { parseDuration } from "./duration.js";
import type { Io } from "./io.js";
import type { ProgressMode } from "./progress/reporter.js";

export const engineChoices = ["auto", "docker", "podman", "store"] as const;
export const progressChoices = ["auto", "tty", "plain", "json", "none"] as const satisfies readonly ProgressMode[];

/** The flags of every verb, as commander parses them. */
export interface GlobalFlags {
  readonly engine?: (typeof engineChoices)[number];
  readonly store?: string;
  readonly config?: string;
  readonly cluster?: string;
  readonly owner?: string;
  readonly org?: string;
  readonly platform?: string;
  readonly insecure?: readonly string[];
  readonly caFile?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly progress?: ProgressMode;
  readonly timeout?: string;
  readonly limitRate?: string;
  readonly debug?: boolean;
}

/** What the configuration file says about the command line itself. */
export interface FileSettings {
  readonly progress?: unknown;
  readonly timeout?: unknown;
}

/**
 * The file's settings, read only where neither flag nor variable says it all. A file that can't be read says nothing
 * here: whoever opens the client reports it.
 */
export async function readFileSettings(flags: GlobalFlags, env: Io["env"]): Promise<FileSettings> {
  const isSaid = (flag: string | undefined, name: string) => flag !== undefined || (env[name] ?? "") !== "";
  if (isSaid(flags.progress, "LADING_PROGRESS") && isSaid(flags.timeout, "LADING_TIMEOUT")) return {};
  const { configPath, readConfigFile } = await import("../config/file.js");
  try {
    return (await readConfigFile(flags.config ?? configPath(env))) ?? {};
  } catch {
    return {};
  }
}

/**
 * The way of showing progress: the flag, else `LADING_PROGRESS`, else the file, else `auto`.
 * @throws LadingError `config-invalid` for the variable
 */
export function progressMode(flags: GlobalFlags, env: Io["env"], file: FileSettings): ProgressMode {
  const variable = env.LADING_PROGRESS ?? "";
  if (flags.progress !== undefined) return flags.progress;
  if (variable === "") return progressChoices.find((choice) => choice === file.progress) ?? "auto";
  const mode = progressChoices.find((choice) => choice === variable);
  if (mode !== undefined) return mode;
  throw new LadingError("config-invalid", `LADING_PROGRESS is ${JSON.stringify(variable)}`, {
    hint: `it may be ${progressChoices.join(", ")}`,
  });
}

/**
 * The time that the whole command may take, in milliseconds: the flag, else `LADING_TIMEOUT`, else the file's, else
 * null for no limit.
 * @throws LadingError `usage` for the flag, `config-invalid` for variable and file
 */
export function timeLimit(flags: GlobalFlags, env: Io["env"], file: FileSettings): number | null {
  if (flags.timeout !== undefined) return parseDuration(flags.timeout);
  const variable = env.LADING_TIMEOUT ?? "";
  const [name, value] =
    variable === "" ? ["timeout in the configuration file", file.timeout] : ["LADING_TIMEOUT", variable];
  if (value === undefined) return null;
  try {
    return parseDuration(String(value));
  } catch (error) {
    throw new LadingError("config-invalid", `${name} is no duration: ${JSON.stringify(value)}`, {
      hint: "for example 90s, 10m or 1h30m; a bare number is seconds",
      cause: error,
    });
  }
}

/** Whether a command line that could not be parsed asked for JSON all the same. */
export function asksForJson(argv: readonly string[]): { readonly json: boolean; readonly progressJson: boolean } {
  const end = argv.indexOf("--");
  const flags = end === -1 ? argv : argv.slice(0, end);
  const progressJson = flags.some(
    (flag, index) => flag === "--progress=json" || (flag === "--progress" && flags[index + 1] === "json"),
  );
  return { json: flags.includes("--json"), progressJson };
}
