import { setMaxListeners } from "node:events";
import { LadingError } from "../errors.js";
import type {
  FinalStatus,
  ImageProgress,
  ImageProgressEvent,
  ImageProgressPull,
  ImageProgressPush,
  ImageProgressStep,
  LayerProgress,
  StepStatus,
} from "../image/progress.js";

type RunningStatus = Exclude<StepStatus, FinalStatus>;

/** The order in which statuses come; a report of an earlier one is no news. `retrying` has no place of its own. */
const order: Readonly<Record<Exclude<RunningStatus, "retrying">, number>> = {
  waiting: 0,
  exporting: 1,
  compressing: 2,
  checking: 3,
  uploading: 4,
  downloading: 4,
  verifying: 5,
  loading: 6,
};

const messages: Readonly<Record<StepStatus, string>> = {
  waiting: "Waiting",
  exporting: "Exporting",
  compressing: "Compressing",
  checking: "Checking",
  uploading: "Uploading",
  downloading: "Downloading",
  verifying: "Verifying",
  loading: "Loading",
  retrying: "Retrying",
  done: "Done",
  exists: "Already exists",
  mounted: "Mounted",
};

interface Layer {
  readonly layerId: string;
  status: RunningStatus;
  rank: number;
  /** High-water mark of the status. */
  current: number;
  total: number;
  emittedAt: number;
  /** The newest step that was held back. */
  held: ImageProgressStep | null;
  /** Shows what is held once its time has come, where nothing newer does. */
  timer: NodeJS.Timeout | null;
  ended: boolean;
}

/** Between two steps of one layer and status, in ms: about ten a second. */
const interval = 100;

export interface TransferProgressOptions {
  readonly progress: ImageProgress | null | undefined;
  /** Ends the transfer with this error, where a callback fails. */
  readonly onFailure: (error: LadingError) => void;
  /** Milliseconds that never go back. @default performance.now */
  readonly now?: () => number;
}

/**
 * Turns what the parts of a transfer report into the calls that a user may rely on: statuses go forward, numbers rise
 * within one, the first and the last step of each are never dropped, and nothing is called after {@link close}.
 */
export class TransferProgress implements LayerProgress {
  readonly #call: ((event: ImageProgressEvent) => void | Promise<void>) | null;
  readonly #onFailure: (error: LadingError) => void;
  readonly #now: () => number;
  readonly #layers = new Map<string, Layer>();
  readonly #aliases = new Map<string, string>();
  #closed = false;

  constructor({ progress, onFailure, now = () => performance.now() }: TransferProgressOptions) {
    this.#call = caller(progress);
    this.#onFailure = onFailure;
    this.#now = now;
  }

  push(data: ImageProgressPush): void {
    this.#emit({ type: "push", ...data });
  }

  pull(data: ImageProgressPull): void {
    this.#emit({ type: "pull", ...data });
  }

  report(id: string, status: RunningStatus, current: number, total: number | null): void {
    if (this.#call === null || this.#closed) return;
    const layer = this.#layer(id);
    if (layer.ended) return;
    if (status === "retrying") {
      this.#flush(layer);
      this.#step(layer, status, layer.current, layer.total);
      return;
    }
    const rank = order[status];
    const first = rank > layer.rank;
    if (rank < layer.rank) return;
    if (first) {
      this.#flush(layer);
      layer.status = status;
      layer.rank = rank;
      layer.current = 0;
      layer.total = 0;
    }
    layer.current = Math.max(layer.current, current);
    layer.total = Math.max(layer.total, total ?? 0, layer.current);
    const wait = interval - (this.#now() - layer.emittedAt);
    if (first || wait <= 0) {
      this.#drop(layer);
      this.#step(layer, status, layer.current, layer.total);
      return;
    }
    layer.held = this.#makeStep(layer, status, layer.current, layer.total);
    layer.timer ??= setTimeout(() => this.#flush(layer), wait).unref();
  }

  identify(layerId: string, digest: string): void {
    if (layerId === digest || this.#layers.has(digest)) return;
    this.#aliases.set(digest, layerId);
  }

  /** The layer has arrived. @param size Its compressed bytes. */
  finish(id: string, status: FinalStatus, size: number): void {
    if (this.#call === null || this.#closed) return;
    const layer = this.#layer(id);
    if (layer.ended) return;
    this.#flush(layer);
    layer.ended = true;
    this.#step(layer, status, size, size);
  }

  /** All that was asked for is there: ends the layers of which nothing was said at their end. */
  finishRest(): void {
    for (const { layerId, ended, rank, total } of this.#layers.values()) {
      if (!ended && rank >= 0) this.finish(layerId, "done", total);
    }
  }

  /** Nothing is called from here on. */
  close(): void {
    this.#closed = true;
    for (const layer of this.#layers.values()) this.#drop(layer);
  }

  #layer(id: string): Layer {
    const layerId = this.#aliases.get(id) ?? id;
    let layer = this.#layers.get(layerId);
    if (layer === undefined) {
      layer = {
        layerId,
        status: "waiting",
        rank: -1,
        current: 0,
        total: 0,
        emittedAt: 0,
        held: null,
        timer: null,
        ended: false,
      };
      this.#layers.set(layerId, layer);
    }
    return layer;
  }

  #flush(layer: Layer): void {
    const { held } = layer;
    this.#drop(layer);
    if (held === null) return;
    layer.emittedAt = this.#now();
    this.#emit({ type: "step", ...held });
  }

  #drop(layer: Layer): void {
    layer.held = null;
    if (layer.timer !== null) clearTimeout(layer.timer);
    layer.timer = null;
  }

  #step(layer: Layer, status: StepStatus, current: number, total: number): void {
    layer.emittedAt = this.#now();
    this.#emit({ type: "step", ...this.#makeStep(layer, status, current, total) });
  }

  #makeStep(layer: Layer, status: StepStatus, current: number, total: number): ImageProgressStep {
    return { layerId: layer.layerId, message: messages[status], status, current, total };
  }

  #emit(event: ImageProgressEvent): void {
    if (this.#closed || this.#call === null) return;
    try {
      const result: unknown = this.#call(event);
      if (isThenable(result)) {
        result.then(undefined, (cause: unknown) => this.#failed(cause));
      }
    } catch (cause) {
      this.#failed(cause);
    }
  }

  #failed(cause: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#onFailure(new LadingError("callback-failed", `the progress callback failed: ${reason}`, { cause }));
  }
}

/** Runs a transfer that reports to the user's callbacks; one that fails ends it, and its error is the transfer's. */
export async function withProgress<T>(
  progress: ImageProgress | null | undefined,
  callerSignal: AbortSignal,
  work: (progress: TransferProgress, signal: AbortSignal, fail: (error: unknown) => void) => Promise<T>,
): Promise<T> {
  const failure = new AbortController();
  const fail = (error: unknown) => failure.abort(error);
  const tracker = new TransferProgress({ progress, onFailure: fail });
  // A cancelled call may leave work behind that does not listen: nobody is told of it any more.
  const silence = () => tracker.close();
  callerSignal.addEventListener("abort", silence, { once: true });
  try {
    const signal = AbortSignal.any([callerSignal, failure.signal]);
    setMaxListeners(0, signal);
    const result = await work(tracker, signal, fail);
    if (failure.signal.aborted) throw failure.signal.reason;
    return result;
  } catch (error) {
    throw failure.signal.aborted ? failure.signal.reason : error;
  } finally {
    callerSignal.removeEventListener("abort", silence);
    tracker.close();
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as PromiseLike<unknown>).then === "function";
}

/** One function for the three shapes that `progress` may have. */
function caller(
  progress: ImageProgress | null | undefined,
): ((event: ImageProgressEvent) => void | Promise<void>) | null {
  if (progress === null || progress === undefined) return null;
  if (typeof progress === "function") return (event) => progress(Object.freeze(event));
  return ({ type, ...data }) => {
    // The methods take the data alone, as the reference has them.
    const method = progress[type] as ((data: unknown) => void | Promise<void>) | undefined;
    return method?.call(progress, Object.freeze(data));
  };
}
