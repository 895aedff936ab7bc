import type { StepStatus } from "../../image/progress.js";
import { createStyle, type Style } from "../colour.js";
import { formatDuration } from "../duration.js";
import type { Io, OutputStream } from "../io.js";
import { safeText } from "../safe-text.js";
import { formatSize } from "../size.js";
import { isFinal, type LayerState, LayerTable, shortLayerId, totalParts } from "./layer-table.js";
import { LiveRegion } from "./live-region.js";
import { type ProgressRenderer, transferTitle } from "./renderer.js";

/** Milliseconds between two pictures. */
const frame = 100;

/** For terminals: a line per layer with bar, bytes, rate and time left, never more lines than the screen has. */
export function createTtyProgress(
  stream: OutputStream,
  env: Io["env"],
  now: () => number = () => performance.now(),
): ProgressRenderer {
  const region = new LiveRegion(stream);
  const style = createStyle(stream, env);
  let table = new LayerTable();
  let timer: NodeJS.Timeout | null = null;
  const draw = () => region.draw(picture(table, region.columns, region.rows, style, now()));
  const stop = () => {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    stream.off?.("resize", draw);
    region.clear();
  };
  return {
    event: (event) => {
      if (timer === null) {
        timer = setInterval(draw, frame);
        timer.unref();
        stream.on?.("resize", draw);
      }
      if (event.type === "step") {
        table.apply(event, now());
      } else {
        table = new LayerTable();
        region.insert(style("bold", safeText(transferTitle(event))));
      }
    },
    line: (text) => region.insert(text),
    close: stop,
  };
}

/** The lines to draw: layers that move first where there are more than fit, then one line for the rest and the total. */
export function picture(table: LayerTable, columns: number, rows: number, style: Style, now: number): string[] {
  const layers = table.layers;
  if (layers.length === 0) return [];
  // One row for the total, one for "+N more", one for the cursor.
  const room = Math.max(1, rows - 3);
  const shown = layers.length <= room ? layers : mostInteresting(layers, room);
  const width = Math.max(10, columns - 1);
  const lines = shown.map((layer) => layerLine(layer, width, style));
  const hidden = layers.filter((layer) => !shown.includes(layer));
  if (hidden.length > 0) {
    const finished = hidden.filter((layer) => isFinal(layer.status)).length;
    lines.push(style("dim", cut(`+${hidden.length} more: ${finished} finished`, width)));
  }
  lines.push(style("bold", cut(`total         ${totalParts(table.totals(now)).join("  ")}`, width)));
  return lines;
}

function mostInteresting(layers: readonly LayerState[], room: number): readonly LayerState[] {
  const rank = (layer: LayerState) => (isFinal(layer.status) ? 2 : layer.status === "waiting" ? 1 : 0);
  const chosen = new Set(
    [...layers]
      .map((layer, index) => ({ layer, index }))
      // Of those that ended, the latest are the news.
      .sort((a, b) => rank(a.layer) - rank(b.layer) || (rank(a.layer) === 2 ? b.index - a.index : a.index - b.index))
      .slice(0, room)
      .map(({ layer }) => layer),
  );
  return layers.filter((layer) => chosen.has(layer));
}

function layerLine(layer: LayerState, width: number, style: Style): string {
  const name = safeText(shortLayerId(layer.layerId)).padEnd(12);
  const status = layer.status.padEnd(11);
  const start = cut(`${name}  ${status}`, width);
  const coloured =
    start.length < name.length + 2 ? start : `${name}  ${style(colourOf(layer.status), start.slice(name.length + 2))}`;
  if (isFinal(layer.status) || layer.total <= 0) {
    const size = layer.total > 0 ? `  ${formatSize(layer.total)}` : "";
    return start.length + size.length <= width ? `${coloured}${size}` : coloured;
  }
  const left =
    layer.rate !== null && layer.rate > 0 ? formatDuration(((layer.total - layer.current) / layer.rate) * 1000) : "";
  const bytes = `  ${`${formatSize(layer.current)} / ${formatSize(layer.total)}`.padEnd(19)}`;
  const speed =
    layer.rate === null ? "" : `  ${`${formatSize(layer.rate)}/s`.padEnd(11)}${left === "" ? "" : `  ${left}`}`;
  const barRoom = Math.min(30, width - start.length - bytes.length - 28);
  const bar = barRoom >= 8 ? `  ${progressBar(layer.current / layer.total, barRoom - 4)}` : "";
  const rest = cut(`${bar}${bytes}${speed}`, width - start.length);
  return `${coloured}${rest}`.trimEnd();
}

/** `[=====>    ]`; full only when all of it is done. */
function progressBar(fraction: number, cells: number): string {
  const done = Math.min(cells, Math.floor(Math.max(0, fraction) * cells));
  const head = done < cells ? ">" : "";
  return `[${"=".repeat(done)}${head}${" ".repeat(cells - done - head.length)}]`;
}

function colourOf(status: StepStatus): "green" | "dim" | "yellow" | "cyan" {
  if (isFinal(status)) return "green";
  if (status === "waiting") return "dim";
  return status === "retrying" ? "yellow" : "cyan";
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : text.slice(0, Math.max(0, width));
}
