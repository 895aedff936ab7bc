import type { OutputStream } from "../io.js";

const beginSynchronized = "\u001b[?2026h";
const endSynchronized = "\u001b[?2026l";
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";
const eraseBelow = "\u001b[J";

const sequences = /\u001b\[[0-9;?]*[A-Za-z]/g;

/**
 * The last lines of a terminal, drawn again and again. Own code rather than a library, for one reason: after a
 * terminal became narrower it has broken the old lines into more rows, and only who knows the lines can tell how many
 * rows have to go; a count of lines leaves ghosts behind.
 */
export class LiveRegion {
  readonly #stream: OutputStream;
  #drawn: readonly string[] = [];

  constructor(stream: OutputStream) {
    this.#stream = stream;
  }

  get columns(): number {
    return this.#stream.columns || 80;
  }

  get rows(): number {
    return this.#stream.rows || 24;
  }

  /** @param lines At most `rows - 1` of them, each narrower than `columns` on the screen. */
  draw(lines: readonly string[]): void {
    if (lines.length === this.#drawn.length && lines.every((line, index) => line === this.#drawn[index])) return;
    const hide = this.#drawn.length === 0 ? hideCursor : "";
    const text = lines.map((line) => `${line}\n`).join("");
    this.#stream.write(`${beginSynchronized}${hide}${this.#erase()}${text}${endSynchronized}`);
    this.#drawn = lines;
  }

  /** Writes a line that stays, above the region. */
  insert(line: string): void {
    const again = this.#drawn.map((drawn) => `${drawn}\n`).join("");
    this.#stream.write(`${beginSynchronized}${this.#erase()}${line}\n${again}${endSynchronized}`);
  }

  /** Takes the region away and gives the cursor back. */
  clear(): void {
    if (this.#drawn.length === 0) return;
    this.#stream.write(`${beginSynchronized}${this.#erase()}${showCursor}${endSynchronized}`);
    this.#drawn = [];
  }

  #erase(): string {
    const columns = this.columns;
    const rows = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(screenWidth(line) / columns)), 0);
    return rows === 0 ? "" : `\r\u001b[${rows}A${eraseBelow}`;
  }
}

/** Columns that a line of ours takes: its own colours take none, and whatever is not ASCII was escaped before. */
export function screenWidth(line: string): number {
  return line.replace(sequences, "").length;
}
