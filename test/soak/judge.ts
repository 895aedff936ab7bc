import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv, type ValidateFunction } from "ajv";
import { whereFound } from "../faults/where-found.js";
import type { LadingRun } from "./lading-run.js";
import { type Ledger, memoryBound } from "./ledger.js";

export type JudgedRun =
  | { readonly outcome: "done"; readonly code: ""; readonly result: Readonly<Record<string, unknown>> | null }
  | { readonly outcome: "killed" | "interrupted" | "hung"; readonly code: ""; readonly result: null }
  | { readonly outcome: "failed"; readonly code: string; readonly result: null };

/** Holds every run of the CLI to what it promises of its ending: N6, N7 and N8. */
export class RunJudge {
  readonly #ledger: Ledger;
  readonly #root: string;
  readonly #secrets: readonly string[];
  readonly #ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false });
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor(ledger: Ledger, root: string, secrets: readonly string[]) {
    this.#ledger = ledger;
    this.#root = root;
    this.#secrets = secrets;
  }

  async judge(run: LadingRun, verb: string): Promise<JudgedRun> {
    const ledger = this.#ledger;
    const told = `lading ${run.args.join(" ")}`;
    ledger.peak("lading", run.peak);
    const heavy = run.peak > memoryBound ? `${told}: ${Math.round(run.peak / 1048576)} MiB` : null;
    await ledger.check("N8", heavy);
    const leaks = await whereFound(this.#secrets, [run.stdout, run.stderr], []);
    await ledger.check("N6", leaks.length === 0 ? null : `${told}: a secret is in its output`);
    const wrong = this.#wrong(run, verb);
    await ledger.check("N7", wrong === null ? null : `${told}: ${wrong}\n${run.stdout}\n${run.stderr.slice(-3000)}`);
    if (run.hung) return { outcome: "hung", code: "", result: null };
    if (run.exit === 0) return { outcome: "done", code: "", result: parse(run.stdout) };
    if (run.sent === "SIGKILL" && run.exit === null) return { outcome: "killed", code: "", result: null };
    if (run.sent === "SIGINT" && (run.exit === 130 || run.exit === null))
      return { outcome: "interrupted", code: "", result: null };
    return { outcome: "failed", code: errorOf(run)?.code ?? `exit ${run.exit ?? run.signal}`, result: null };
  }

  #wrong(run: LadingRun, verb: string): string | null {
    if (run.hung) return "it hangs";
    if (/\n\s+at .*:\d+:\d+/.test(run.stderr)) return "a stack trace";
    if (run.sent === "SIGKILL" && run.exit === null) return null;
    // Before the program has its handlers, the system's own way to end is as good: a shell calls it 130 too.
    if (run.sent === "SIGINT" && run.exit === null && run.signal === "SIGINT") return null;
    if (run.exit === 0) {
      const result = parse(run.stdout);
      if (result === null) return "stdout is not one JSON value and a newline";
      return this.#misfit(verb, result);
    }
    if (run.stdout !== "") return "it failed and wrote to stdout";
    const error = errorOf(run);
    if (error === null) return "the last line of stderr is no error object";
    if (error.exit !== run.exit) return `it says exit ${error.exit} and ends with ${run.exit ?? run.signal}`;
    if (error.code === "internal") return "an internal error";
    return null;
  }

  #misfit(verb: string, value: unknown): string | null {
    let validate = this.#compiled.get(verb);
    if (validate === undefined) {
      validate = this.#ajv.compile(JSON.parse(readFileSync(join(this.#root, "schemas", `${verb}.json`), "utf8")));
      this.#compiled.set(verb, validate);
    }
    return validate(value) ? null : `it does not fit its schema: ${this.#ajv.errorsText(validate.errors)}`;
  }
}

function parse(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return text.endsWith("\n") ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

function errorOf({ stderr }: LadingRun): { readonly code: string; readonly exit: number } | null {
  try {
    const line = JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "");
    return line.type === "error" ? line.error : null;
  } catch {
    return null;
  }
}
