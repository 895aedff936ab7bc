import { appendFile } from "node:fs/promises";
import { inspect } from "node:util";
import type { FaultKind } from "./faulty-front.js";
import { within } from "./patience.js";

/** Peak memory of a process of Lading, whatever it moves, in bytes. */
export const memoryBound = 256 * 1024 * 1024;

/** What a run promises, by the names of the design's section 11. */
export const invariants = {
  N1: "every blob file hashes to its name",
  N2: "every tag resolves to a manifest whose children are all there",
  N3: "the map of tags is the one before or the one after, never a third",
  N4: "what a registry acknowledged is readable after its restart, byte-equal",
  N5: "nothing temporary outlives its term, and no process that has ended holds anything",
  N6: "the canary secrets are nowhere",
  N7: "exit codes and JSON are right, no stack trace, no hang",
  N8: "no process of Lading had more than 256 MiB",
  N9: "an independent tool pulls every tag that is left, with the same digest",
} as const;
export type Invariant = keyof typeof invariants;

export interface Violation {
  readonly invariant: Invariant;
  readonly text: string;
}

/** Everything that a run has seen, counted. */
export class Ledger {
  readonly #log: string;
  readonly violations: Violation[] = [];
  /** What kept the run itself from what it had to do. */
  readonly breaks: string[] = [];
  /** How often each invariant was looked at. */
  readonly checks = new Map<Invariant, number>();
  /** By verb and ends, then by outcome. */
  readonly outcomes = new Map<string, Map<string, number>>();
  readonly faults = new Map<FaultKind, number>();
  readonly kills = { SIGKILL: 0, SIGINT: 0, serve: 0 };
  readonly peaks = new Map<string, number>();
  operations = 0;
  requests = 0;
  retries = 0;

  constructor(log: string) {
    this.#log = log;
  }

  async say(text: string): Promise<void> {
    const line = `${new Date().toISOString()} ${text}`;
    process.stdout.write(`${line}\n`);
    await appendFile(this.#log, `${line}\n`);
  }

  /** Looks at an invariant; `wrong` is null where it holds. */
  async check(invariant: Invariant, wrong: string | null): Promise<void> {
    this.checks.set(invariant, (this.checks.get(invariant) ?? 0) + 1);
    if (wrong === null) return;
    this.violations.push({ invariant, text: wrong });
    await this.say(`VIOLATION ${invariant}: ${wrong}`);
  }

  /** Does a part of the run, with an end to its patience; where it fails, the rest goes on and the report says so. @returns whether it was done */
  async part(what: string, milliseconds: number, work: Promise<unknown>): Promise<boolean> {
    try {
      await within(what, milliseconds, work);
      return true;
    } catch (error) {
      await this.broke(`${what}: ${inspect(error)}`);
      return false;
    }
  }

  async broke(text: string): Promise<void> {
    this.breaks.push(text);
    await this.say(`THE RUN BROKE: ${text}`);
  }

  fault(kind: FaultKind): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }

  outcome(what: string, how: string): void {
    this.operations += 1;
    const ways = this.outcomes.get(what) ?? new Map<string, number>();
    ways.set(how, (ways.get(how) ?? 0) + 1);
    this.outcomes.set(what, ways);
  }

  peak(process: string, bytes: number): void {
    this.peaks.set(process, Math.max(this.peaks.get(process) ?? 0, bytes));
  }
}
