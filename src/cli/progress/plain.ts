import type { ImageProgressStep, StepStatus } from "../../image/progress.js";
import type { OutputStream } from "../io.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";
import { isFinal, LayerTable, shortLayerId, totalParts } from "./layer-table.js";
import { type ProgressRenderer, transferTitle } from "./renderer.js";

/** What comes before a layer's work: no line, since most layers that are checked turn out to be there. */
const preludes: ReadonlySet<StepStatus> = new Set(["waiting", "checking"]);
/** Milliseconds between two lines with the total. */
const totalEvery = 10_000;

/** For pipes and logs: a line when a layer starts, a line when it ends, and the total every ten seconds. */
export function createPlainProgress(
  stream: OutputStream,
  now: () => number = () => performance.now(),
): ProgressRenderer {
  let table = new LayerTable();
  let timer: NodeJS.Timeout | null = null;
  const started = new Set<string>();
  const ended = new Set<string>();
  const line = (text: string) => {
    stream.write(`${text}\n`);
  };
  const total = () => line(`total: ${totalParts(table.totals(now())).join(", ")}`);
  const step = (event: ImageProgressStep) => {
    const layer = table.apply(event, now());
    const name = safeText(shortLayerId(layer.layerId));
    const size = layer.total > 0 ? ` (${formatSize(layer.total)})` : "";
    if (isFinal(layer.status)) {
      if (!ended.has(layer.layerId)) line(`${name}: ${layer.status}${size}`);
      ended.add(layer.layerId);
    } else if (!preludes.has(layer.status) && !started.has(layer.layerId)) {
      started.add(layer.layerId);
      line(`${name}: ${layer.status}${size}`);
    }
  };
  return {
    event: (event) => {
      if (timer === null) {
        table.totals(now());
        timer = setInterval(total, totalEvery);
        timer.unref();
      }
      if (event.type === "step") return step(event);
      table = new LayerTable();
      table.totals(now());
      started.clear();
      ended.clear();
      line(safeText(transferTitle(event)));
    },
    line,
    close: () => {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}
