import type { ImageProgressStep, StepStatus } from "../../image/progress.js";
import { formatSize } from "../size.js";

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
  /** What had moved at the last look at the total, for the rate since then. */
  #sample: { readonly at: number; readonly moved: number } | null = null;
  #rate: number | null = null;

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

  /**
   * @param now Milliseconds of the same clock.
   * @returns `rate`: bytes per second over the last second or more, null until there is one. `working`: bytes of what
   * goes on where nothing crosses the wire, by status.
   */
  totals(now: number): Totals {
    let [finished, moved] = [0, 0];
    const working = new Map<StepStatus, { current: number; total: number }>();
    for (const layer of this.#layers.values()) {
      moved += layer.moved;
      if (isFinal(layer.status)) finished += 1;
      else if (!moving.has(layer.status) && layer.total > 0 && layer.current > 0) {
        const sum = working.get(layer.status) ?? { current: 0, total: 0 };
        working.set(layer.status, { current: sum.current + layer.current, total: sum.total + layer.total });
      }
    }
    this.#sample ??= { at: now, moved };
    const passed = now - this.#sample.at;
    if (passed >= 1000) {
      const latest = ((moved - this.#sample.moved) * 1000) / passed;
      this.#rate = this.#rate === null ? latest : this.#rate * 0.5 + latest * 0.5;
      this.#sample = { at: now, moved };
    }
    return { layers: this.#layers.size, finished, moved, rate: this.#rate, working };
  }
}

export interface Totals {
  readonly layers: number;
  readonly finished: number;
  readonly moved: number;
  readonly rate: number | null;
  readonly working: ReadonlyMap<StepStatus, { readonly current: number; readonly total: number }>;
}

/** `1 of 3 layers, exporting 2.0 MB of 9.0 MB, 4.0 MB moved, 1.0 MB/s`: what is nothing yet is left out. */
export function totalParts({ layers, finished, moved, rate, working }: Totals): readonly string[] {
  return [
    `${finished} of ${layers} layers`,
    ...[...working].map(([status, sum]) => `${status} ${formatSize(sum.current)} of ${formatSize(sum.total)}`),
    ...(moved > 0 ? [`${formatSize(moved)} moved`] : []),
    ...(moved > 0 && rate !== null && finished < layers ? [`${formatSize(rate)}/s`] : []),
  ];
}

/** The part of a layer's identity that people compare: the first 12 digits of a digest. */
export function shortLayerId(layerId: string): string {
  return /^sha(?:256|512):[0-9a-f]{12,}$/.test(layerId) ? layerId.slice(7, 19) : layerId.slice(0, 19);
}
