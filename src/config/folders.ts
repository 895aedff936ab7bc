import { homedir, userInfo } from "node:os";
import { isAbsolute, join } from "node:path";

export type Environment = Readonly<Record<string, string | undefined>>;

/** What only the operating system knows. Passed in, so that a test is another machine. */
export interface System {
  readonly homeDirectory: () => string;
  /** The name of the user that runs the process, or null where it has none. */
  readonly userName: () => string | null;
  readonly platform: NodeJS.Platform;
}

export const thisSystem: System = {
  homeDirectory: () => homedir(),
  userName: () => {
    try {
      return userInfo().username;
    } catch {
      // A user without an entry in the system's list, as containers often have.
      return null;
    }
  },
  get platform() {
    return process.platform;
  },
};

/** A variable's value; null where it is unset or empty. */
export function variable(env: Environment, name: string): string | null {
  const value = env[name];
  return value === undefined || value === "" ? null : value;
}

export function homeDirectory(env: Environment, system: System = thisSystem): string {
  return variable(env, system.platform === "win32" ? "USERPROFILE" : "HOME") ?? system.homeDirectory();
}

/** @see https://specifications.freedesktop.org/basedir-spec/0.8/ */
function baseDirectory(env: Environment, name: string, fallback: readonly string[], system: System): string {
  const value = variable(env, name);
  // The specification: a relative path is invalid and ignored.
  return value !== null && isAbsolute(value) ? value : join(homeDirectory(env, system), ...fallback);
}

export function configHome(env: Environment, system: System = thisSystem): string {
  return baseDirectory(env, "XDG_CONFIG_HOME", [".config"], system);
}

export function dataHome(env: Environment, system: System = thisSystem): string {
  return baseDirectory(env, "XDG_DATA_HOME", [".local", "share"], system);
}

/** Lading's own folders below {@link dataHome}: its store, and the registry of the cluster `local`. */
export function defaultFolders(env: Environment, system: System = thisSystem) {
  const root = join(dataHome(env, system), "lading");
  return { store: join(root, "store"), registry: join(root, "registry") } as const;
}
