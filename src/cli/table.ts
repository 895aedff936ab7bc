import { createStyle } from "./colour.js";
import type { Io } from "./io.js";
import { safeText } from "./safe-text.js";

/**
 * Rows as lines: aligned columns under a heading on a terminal, bare fields separated by tabs in a pipe.
 * A null is an empty field in a pipe and `-` on a terminal.
 */
export function tableLines(
  io: Pick<Io, "stdout" | "env">,
  heading: readonly string[],
  rows: readonly (readonly (string | null)[])[],
): string[] {
  if (io.stdout.isTTY !== true) return rows.map((row) => row.map((cell) => safeText(cell ?? "")).join("\t"));
  const style = createStyle(io.stdout, io.env);
  const cells = [heading, ...rows.map((row) => row.map((cell) => (cell === null ? "-" : safeText(cell))))];
  const widths = heading.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  return cells.map((row, index) => {
    const line = row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd();
    return index === 0 ? style("bold", line) : line;
  });
}
