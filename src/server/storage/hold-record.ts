import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ProcessIdentity } from "../../content/process-identity.js";

/** What a server writes into the folder that it holds. */
export interface HoldRecord extends ProcessIdentity {
  readonly url: string;
  readonly instanceId: string;
}

export function holdPath(directory: string): string {
  return join(directory, "held.json");
}

/** Null where there is none, or none that can be read. */
export async function readHold(directory: string): Promise<HoldRecord | null> {
  try {
    const record = JSON.parse(await readFile(holdPath(directory), "utf8")) as Partial<HoldRecord> | null;
    const { pid, url, instanceId, host, started } = record ?? {};
    if (typeof pid !== "number" || typeof url !== "string" || typeof instanceId !== "string") return null;
    return { pid, url, instanceId, host: String(host), started: typeof started === "string" ? started : null };
  } catch {
    return null;
  }
}
