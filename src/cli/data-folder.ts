import { LadingError } from "../errors.js";
import type { CommandContext } from "./command-context.js";

/** The registry's folder: that of the current cluster where it has one, else that of the cluster `local`. */
export async function dataFolder(context: CommandContext): Promise<string> {
  const config = await context.config();
  const folder = config.clusters[config.cluster]?.data ?? config.clusters.local?.data;
  if (folder) return folder;
  throw new LadingError("config-invalid", "no cluster of the configuration has a folder of a registry", {
    hint: "name one with --data, or set clusters.local.data",
  });
}
