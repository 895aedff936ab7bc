import { type Invariant, invariants, type Ledger } from "./ledger.js";

export interface ReportOptions {
  readonly ledger: Ledger;
  readonly seed: string;
  readonly command: string;
  readonly workers: number;
  readonly rate: number;
  readonly started: Date;
  readonly ended: Date;
}

/** The run in Markdown. */
export function reportOf({ ledger, seed, command, workers, rate, started, ended }: ReportOptions): string {
  const { outcomes, faults, kills, peaks, checks, violations, breaks } = ledger;
  const minutes = Math.round((ended.getTime() - started.getTime()) / 60_000);
  const struck = sum(faults.values());
  const rows = [...outcomes]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([what, ways]) => {
      const count = (how: string) => ways.get(how) ?? 0;
      const failed = [...ways].filter(([how]) => how.startsWith("failed"));
      const told = failed.map(([how, times]) => `${times} ${how.slice("failed: ".length)}`).join(", ");
      const refused = sum([...ways].map(([how, times]) => (how.startsWith("refused") ? times : 0)));
      return [what, sum(ways.values()), count("done"), count("killed"), count("interrupted"), refused, told];
    });
  const count = (how: string) => sum([...outcomes.values()].map((ways) => ways.get(how) ?? 0));
  const counted = (outcome: string) =>
    sum(
      [...outcomes.values()].flatMap((ways) => [...ways]).map(([how, times]) => (how.startsWith(outcome) ? times : 0)),
    );
  const [done, killed, interrupted, refused, failed] = [
    ...[count("done"), count("killed"), count("interrupted")],
    ...[counted("refused"), counted("failed")],
  ];
  const mebibytes = (bytes: number) => `${Math.round(bytes / 1048576)} MiB`;
  return `${[
    `\`${command.includes("--seed") ? command : `${command} --seed ${seed}`}\`, ${started.toISOString().slice(0, 10)}:`,
    `${minutes} minutes, ${workers} workers, a fault in ${rate * 100} % of the requests.`,
    "",
    `- ${ledger.operations} operations: ${done} done, ${killed} killed, ${interrupted} interrupted, ${refused} refused as they have to be, ${failed} failed with a typed error.`,
    `- ${ledger.requests} requests of clients, ${struck} struck by a fault, ${ledger.retries} of those made again.`,
    `- ${kills.SIGKILL} SIGKILL and ${kills.SIGINT} SIGINT were sent to clients; \`lading serve\` was killed and started again ${kills.serve} times.`,
    `- Peak memory: ${[...peaks].map(([name, bytes]) => `\`${name}\` ${mebibytes(bytes)}`).join(", ")}.`,
    "",
    ...table(["operation", "runs", "done", "killed", "interrupted", "refused", "failed"], rows),
    "",
    ...table(
      ["fault", "struck"],
      [...faults].sort(([one], [other]) => (one < other ? -1 : 1)),
    ),
    "",
    ...table(
      ["promise", "", "checks", "result"],
      (Object.keys(invariants) as Invariant[]).map((name) => {
        const broken = violations.filter(({ invariant }) => invariant === name).length;
        return [name, invariants[name], checks.get(name) ?? 0, broken === 0 ? "held" : `**broken ${broken} times**`];
      }),
    ),
    "",
    ...violations.map(({ invariant, text }) => `- ${invariant}: ${text}`),
    ...breaks.map((text) => `- the run broke: ${text}`),
  ].join("\n")}\n`;
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): readonly string[] {
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
