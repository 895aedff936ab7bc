import type { LayerProgress } from "../image/progress.js";
import { isJsonObject, type JsonObject } from "./json-lines.js";

type Outcome = "stored" | "exists" | "mounted";

/** What the words of an engine's progress mean, in those of Lading. */
const running = new Map([
  ["Waiting", "waiting"],
  ["Preparing", "waiting"],
  ["Pulling fs layer", "waiting"],
  ["Pushing", "uploading"],
  ["Downloading", "downloading"],
  ["Verifying Checksum", "verifying"],
  ["Download complete", "verifying"],
  ["Extracting", "loading"],
] as const);

/** Docker names a layer by the first 12 hex digits of its digest. */
const shortId = /^[a-f0-9]{12}$/;

/** Follows the progress of an engine's own push or pull, by layer. */
export class ExchangeProgress {
  readonly outcomes = new Map<string, Outcome>();
  readonly #progress: LayerProgress | undefined;

  constructor(progress: LayerProgress | undefined) {
    this.#progress = progress;
  }

  take({ id, status, progressDetail }: JsonObject): void {
    if (typeof id !== "string" || typeof status !== "string" || !shortId.test(id)) return;
    const outcome = outcomeOf(status);
    if (outcome !== null) {
      this.outcomes.set(id, outcome);
      return;
    }
    const meaning = [...running].find(([word]) => word === status)?.[1];
    if (meaning === undefined) return;
    const detail = isJsonObject(progressDetail) ? progressDetail : {};
    const bytes = (value: unknown) => (typeof value === "number" && detail.units === undefined ? value : null);
    this.#progress?.report(id, meaning, bytes(detail.current) ?? 0, bytes(detail.total));
  }
}

function outcomeOf(status: string): Outcome | null {
  if (status === "Pushed" || status === "Pull complete") return "stored";
  if (status === "Layer already exists" || status === "Already exists") return "exists";
  return status.startsWith("Mounted from ") ? "mounted" : null;
}
