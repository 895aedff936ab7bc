import type { OutputStream } from "../io.js";
import { safeJson } from "../safe-text.js";
import type { ProgressRenderer } from "./renderer.js";

/** One JSON object per line: every event exactly as the SDK gives it. */
export function createJsonProgress(stream: OutputStream): ProgressRenderer {
  return {
    event: (event) => {
      stream.write(`${safeJson(event)}\n`);
    },
    line: (text) => {
      stream.write(`${text}\n`);
    },
    close: () => undefined,
  };
}
