import type { ImageProgressEvent } from "../../image/progress.js";

/** One way of showing the stream of events, on stderr alone. */
export interface ProgressRenderer {
  event(event: ImageProgressEvent): void;
  /** Writes a whole line; a live picture goes on below it. */
  line(text: string): void;
  /** Takes the live picture away and ends timers. Lines may still be written. */
  close(): void;
}

/** The two ends of a transfer, as its first line names them. */
export function transferTitle(event: Extract<ImageProgressEvent, { type: "push" | "pull" }>): string {
  return `${event.type} ${event.src.toString()} -> ${event.dst.toString()}`;
}
