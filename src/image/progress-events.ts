import type { ImageProgressEvent, ImageProgressPull, ImageProgressPush, ImageProgressStep } from "./progress.js";

/** What {@link progressEvents} gives: a progress object that can be read as a stream. */
export interface ProgressEvents extends AsyncIterable<ImageProgressEvent> {
  push(data: ImageProgressPush): void;
  pull(data: ImageProgressPull): void;
  step(data: ImageProgressStep): void;
  /** A transfer begins to report here; the function given back says that it is over. The SDK calls both. */
  attach(): () => void;
}

/** Options of `progressEvents`. */
export interface ProgressEventsOptions {
  /** Events that wait for the reader before steps are dropped. @default 1000 */
  readonly limit?: number | null | undefined;
}

interface Queued {
  readonly event: ImageProgressEvent;
  /** First of its layer and status: never dropped. */
  readonly first: boolean;
}

/**
 * Progress as an AsyncIterable: pass it as `progress` and read it with `for await` at the same time. It ends when
 * the transfers that report to it are over. Bounded: of a status that a slow reader has not come to, the steps between
 * the first and the newest are dropped.
 */
export function progressEvents(options: ProgressEventsOptions | null = null): ProgressEvents {
  const limit = options?.limit ?? 1000;
  const queue: Queued[] = [];
  const statuses = new Map<string, string>();
  let active = 0;
  let attached = false;
  let wake: (() => void) | null = null;

  const add = (event: ImageProgressEvent) => {
    let first = true;
    if (event.type === "step") {
      first = statuses.get(event.layerId) !== event.status;
      statuses.set(event.layerId, event.status);
      if (!first && queue.length >= limit) {
        const dropped = queue.findLastIndex(
          ({ first, event: older }) =>
            !first && older.type === "step" && older.layerId === event.layerId && older.status === event.status,
        );
        if (dropped >= 0) queue.splice(dropped, 1);
      }
    }
    queue.push({ event, first });
    wake?.();
  };

  return {
    push: (data) => add({ type: "push", ...data }),
    pull: (data) => add({ type: "pull", ...data }),
    step: (data) => add({ type: "step", ...data }),
    attach() {
      attached = true;
      active += 1;
      let open = true;
      return () => {
        if (!open) return;
        open = false;
        active -= 1;
        wake?.();
      };
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const next = queue.shift();
        if (next !== undefined) {
          yield next.event;
        } else if (attached && active === 0) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          wake = null;
        }
      }
    },
  };
}
