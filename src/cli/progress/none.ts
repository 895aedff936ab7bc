import type { OutputStream } from "../io.js";
import type { ProgressRenderer } from "./renderer.js";

/** Shows no progress; lines are written. */
export function createNoProgress(stream: OutputStream): ProgressRenderer {
  return {
    event: () => undefined,
    line: (text) => {
      stream.write(`${text}\n`);
    },
    close: () => undefined,
  };
}
