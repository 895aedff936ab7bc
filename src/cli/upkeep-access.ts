import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ioError, LadingError } from "../errors.js";
import type { Upkeep } from "../server/index.js";
import type { CommandContext } from "./command-context.js";
import { dataFolder } from "./data-folder.js";

/** The registry that a verb is about: a flag of all of these verbs. */
export interface UpkeepPlace {
  /** A registry's folder. */
  readonly data?: string;
}

/**
 * Gives a task the upkeep of a folder, whether a server holds it or not: both change it in turns.
 * @throws LadingError `not-found` where there is no registry
 */
export async function withUpkeep<T>(
  context: CommandContext,
  { data }: UpkeepPlace,
  task: (upkeep: Upkeep) => Promise<T>,
): Promise<T> {
  const directory = data ?? (await dataFolder(context));
  await stat(join(directory, "lading-registry.json")).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== "ENOENT") throw ioError(error, `reading ${directory}`);
    throw new LadingError("not-found", `there is no registry in ${directory}`, { hint: "name its folder with --data" });
  });
  const { createRegistry } = await import("../server/index.js");
  const onError = (error: unknown) =>
    context.reporter.warning(`registry: ${error instanceof Error ? error.message : String(error)}`);
  const registry = createRegistry({ storage: { directory }, onError });
  try {
    return await task(registry.upkeep);
  } finally {
    await registry.close();
  }
}
