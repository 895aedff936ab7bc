import type { LadingError } from "../../errors.js";
import type { ImageProgressEvent } from "../../image/progress.js";
import { createStyle, type Style } from "../colour.js";
import { exitCode } from "../exit-code.js";
import type { Io } from "../io.js";
import { safeJson, safeText } from "../safe-text.js";
import type { ProgressRenderer } from "./renderer.js";

export type ProgressMode = "auto" | "tty" | "plain" | "json" | "none";

export interface ReporterOptions {
  readonly mode: ProgressMode;
  /** Errors alone. */
  readonly quiet: boolean;
  readonly debug: boolean;
  /** Errors as the JSON object that `--json` promises. */
  readonly json: boolean;
}

/** Longest text from outside on one line of stderr. */
const lineLimit = 4096;

/** Everything that goes to stderr: progress, notes, warnings and errors, in one order and one form. */
export class Reporter {
  readonly #renderer: ProgressRenderer;
  readonly #options: ReporterOptions;
  readonly #style: Style;
  readonly #write: (text: string) => void;

  private constructor(renderer: ProgressRenderer, options: ReporterOptions, io: Io) {
    this.#renderer = renderer;
    this.#options = options;
    this.#style = createStyle(io.stderr, io.env);
    this.#write = (text) => {
      io.stderr.write(text);
    };
  }

  static async open(io: Io, options: ReporterOptions): Promise<Reporter> {
    return new Reporter(await openRenderer(io, options), options, io);
  }

  /** For the `progress` option of a transfer. */
  readonly progress = (event: ImageProgressEvent): void => {
    if (!this.#options.quiet) this.#renderer.event(event);
  };

  /** As {@link progress}, for a transfer that is neither push nor pull to people: with a first line of its own. */
  progressAs(title: string): (event: ImageProgressEvent) => void {
    return (event) => {
      if (event.type === "step" || this.#options.mode === "json") this.progress(event);
      else this.note(title);
    };
  }

  /** Something worth knowing that is no trouble. */
  note(text: string): void {
    this.#say("note", text);
  }

  warning(text: string): void {
    this.#say("warning", text);
  }

  debug(text: string): void {
    if (this.#options.debug) this.#say("debug", text);
  }

  /** Takes live lines away; notes and errors may follow. */
  endProgress(): void {
    this.#renderer.close();
  }

  /**
   * @param result What was done before the failure, where there were several names: beside the error in JSON,
   * since stdout stays empty then.
   */
  error(error: LadingError, result?: unknown): void {
    this.#renderer.close();
    if (this.#options.json || this.#options.mode === "json") {
      const object = { type: "error", error: errorJson(error), ...(result === undefined ? {} : { result }) };
      this.#write(`${safeJson(object)}\n`);
      return;
    }
    const prefix = `lading: ${this.#style("red", "error:")}`;
    this.#write(`${prefix} ${safeText(error.message, lineLimit)}\n`);
    if (error.hint !== null) this.#write(`${this.#style("cyan", "hint:")} ${safeText(error.hint, lineLimit)}\n`);
    if (this.#options.debug) {
      for (const line of causes(error)) this.#write(`${this.#style("dim", safeText(line, lineLimit))}\n`);
    }
  }

  #say(level: "note" | "warning" | "debug", text: string): void {
    if (this.#options.quiet) return;
    if (this.#options.mode === "json") {
      this.#renderer.line(safeJson({ type: "warning", level, message: text }));
      return;
    }
    const safe = safeText(text, lineLimit);
    if (level === "note") this.#renderer.line(safe);
    else this.#renderer.line(`${this.#style(level === "warning" ? "yellow" : "dim", `${level}:`)} ${safe}`);
  }
}

function errorJson(error: LadingError): Record<string, unknown> {
  const { code, side, operation, image, digest, status, limit, message, hint, retryable } = error;
  return { code, side, operation, image, digest, status, limit, message, hint, retryable, exit: exitCode(error) };
}

/** Stack traces of an error and of what caused it, outermost first. */
function* causes(error: unknown): Generator<string> {
  let current = error;
  for (let depth = 0; current instanceof Error && depth < 8; depth += 1) {
    const lines = (current.stack ?? String(current)).split("\n");
    yield* depth === 0 ? lines : lines.map((line, index) => (index === 0 ? `caused by ${line}` : line));
    current = current.cause;
  }
}

async function openRenderer(io: Io, { mode, quiet }: ReporterOptions): Promise<ProgressRenderer> {
  const terminal = io.stderr.isTTY === true && io.env.TERM !== "dumb";
  const chosen = quiet ? "none" : mode === "auto" ? (terminal ? "tty" : "plain") : mode;
  switch (chosen) {
    case "tty":
      return (await import("./tty.js")).createTtyProgress(io.stderr, io.env);
    case "plain":
      return (await import("./plain.js")).createPlainProgress(io.stderr);
    case "json":
      return (await import("./json.js")).createJsonProgress(io.stderr);
    case "none":
      return (await import("./none.js")).createNoProgress(io.stderr);
  }
}
