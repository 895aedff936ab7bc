import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";

/**
 * The absolute path of a program on PATH, or null. Empty and relative entries are skipped, so that a file in the
 * current folder is never run; on Windows only `.exe` counts (no batch file, no shell).
 */
export async function programPath(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
): Promise<string | null> {
  const file = platform === "win32" ? `${name}.exe` : name;
  const path = env.PATH ?? (platform === "win32" ? env.Path : undefined) ?? "";
  for (const folder of path.split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const candidate = join(folder, file);
    try {
      await access(candidate, constants.X_OK);
      if ((await stat(candidate)).isFile()) return candidate;
    } catch {
      // Not here: the next folder.
    }
  }
  return null;
}
