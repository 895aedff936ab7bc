import type { ImageProgressStep, StepStatus } from "../../image/progress.js";

const finals: ReadonlySet<StepStatus> = new Set(["done", "exists", "mounted"]);
/** Statuses whose bytes cross the wire. */
const moving: ReadonlySet<StepStatus> = new Set(["uploading", "downloading"]);

export function isFinal(status: StepStatus): boolean {
  return finals.has(status);
}

export interface LayerState {
  readonly layerId: string;
  readonly status: StepStatus;
  readonly current: number;
  readonly total: number;
  /** Bytes per second of this status, smoothed; null until it is known. */
  readonly rate: number | null;
  /** Bytes of this layer that have crossed the wire. */
  readonly moved: number;
}

interface MutableLayer extends LayerState {
  status: StepStatus;
  current: number;
  total: number;
  rate: number | null;
  moved: number;
  sampledAt: number;
  sampled: number;
}

/** The layers of one transfer, as the steps so far tell: what every way of showing progress draws from. */
export class LayerTable {
  readonly #layers = new Map<string, MutableLayer>();

  /** @param now Milliseconds of a clock that only rises. */
  apply(step: ImageProgressStep, now: number): LayerState {
    const known = this.#layers.get(step.layerId);
    const layer: MutableLayer = known ?? {
      layerId: step.layerId,
      status: step.status,
      current: step.current,
      total: step.total,
      rate: null,
      moved: 0,
      sampledAt: now,
      sampled: step.current,
    };
    if (known === undefined) this.#layers.set(step.layerId, layer);
    if (layer.status !== step.status) {
      layer.rate = null;
      layer.sampledAt = now;
      layer.sampled = step.current;
    } else if (now - layer.sampledAt >= 500) {
      const latest = ((step.current - layer.sampled) * 1000) / (now - layer.sampledAt);
      layer.rate = layer.rate === null ? latest : layer.rate * 0.7 + latest * 0.3;
      layer.sampledAt = now;
      layer.sampled = step.current;
    }
    layer.status = step.status;
    layer.current = step.current;
    layer.total = step.total;
    if (moving.has(step.status)) layer.moved = Math.max(layer.moved, step.current);
    else if (step.status === "done" && layer.moved > 0) layer.moved = Math.max(layer.moved, step.total);
    return layer;
  }

  /** In the order in which they appeared. */
  get layers(): readonly LayerState[] {
    return [...this.#layers.values()];
  }

  totals(): { readonly layers: number; readonly finished: number; readonly moved: number; readonly rate: number } {
    let [finished, moved, rate] = [0, 0, 0];
    for (const layer of this.#layers.values()) {
      if (isFinal(layer.status)) finished += 1;
      else if (moving.has(layer.status)) rate += layer.rate ?? 0;
      moved += layer.moved;
    }
    return { layers: this.#layers.size, finished, moved, rate };
  }
}

/** The part of a layer's identity that people compare: the first 12 digits of a digest. */
export function shortLayerId(layerId: string): string {
  return /^sha(?:256|512):[0-9a-f]{12,}$/.test(layerId) ? layerId.slice(7, 19) : layerId.slice(0, 19);
}
