import { type ContestResult, type Entry, isMetric, type JudgedGoal, type Metric } from "./contest.js";

const seconds = (value: number) => (value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(2)} s`);
const megabytes = (value: number) => `${(value / 2 ** 20).toFixed(0)} MiB`;

export const formatMetric: Readonly<Record<Metric, (value: number) => string>> = {
  seconds,
  cpu: (value) => `${value.toFixed(2)} s`,
  memory: (value) => (value === 0 ? "" : megabytes(value)),
};

/** The metric that a contest is about: that of its first goal. */
export const metricOf = ({ goals: [goal] }: ContestResult): Metric =>
  goal !== undefined && isMetric(goal.metric) ? goal.metric : "seconds";

/** Median over the fastest peer's, where there is one. */
function ratioOf(entry: Entry, contest: ContestResult): string {
  const metric = metricOf(contest);
  const fastest = Math.min(...contest.entries.filter(({ ours }) => !ours).map((peer) => peer[metric].median));
  return Number.isFinite(fastest) && fastest > 0 ? (entry[metric].median / fastest).toFixed(2) : "";
}

const headings = ["", "median", "min", "max", "to the fastest peer", "CPU", "peak memory", "more"];

/** The rows of a contest's table, headings first. */
export function cellsOf(contest: ContestResult): readonly (readonly string[])[] {
  const rows = contest.entries.map((entry) => [
    entry.name,
    ...[entry.seconds.median, entry.seconds.min, entry.seconds.max].map(formatMetric.seconds),
    ratioOf(entry, contest),
    formatMetric.cpu(entry.cpu.median),
    formatMetric.memory(entry.memory.median),
    Object.entries(entry.extra)
      .map(([name, value]) => `${Number(value.toPrecision(4))} ${name}`)
      .join(", "),
  ]);
  const table = [headings, ...rows];
  // A column that says nothing is left out.
  const kept = headings.map((_heading, at) => at === 0 || rows.some((row) => row[at] !== ""));
  return table.map((row) => row.filter((_cell, at) => kept[at]));
}

export function goalText(goal: JudgedGoal): string {
  const format = isMetric(goal.metric) ? formatMetric[goal.metric] : String;
  const against = typeof goal.against === "number" ? format(goal.against) : goal.against;
  const relation = `${goal.ratio.toFixed(2)} of ${against}, to reach: ${Number(goal.atMost.toPrecision(4))}`;
  const what = goal.metric === "seconds" ? "" : `, ${goal.metric}`;
  return `${goal.met ? "met" : "NOT MET"}: ${goal.of}${what}: ${relation}`;
}

/**
 * A contest for a terminal.
 * @param judged Whether to say what is reached: one run of a small image says nothing about that.
 */
export function textTable(contest: ContestResult, { judged }: { readonly judged: boolean }): string {
  const table = cellsOf(contest);
  const widths = (table[0] ?? []).map((_cell, at) => Math.max(...table.map((row) => row[at]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((cell, at) => pad(cell, widths[at] ?? 0, at))
      .join("  ")
      .trimEnd(),
  );
  const goals = judged ? contest.goals.map((goal) => `  ${goalText(goal)}`) : [];
  return [contest.name, ...lines.map((line) => `  ${line}`), ...goals].join("\n");
}

/** A contest for a page. */
export function markdownTable(contest: ContestResult): string {
  const [heading = [], ...rows] = cellsOf(contest);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = heading.map((_cell, at) => (at === 0 ? "---" : "---:"));
  return [line(heading), line(rule), ...rows.map(line)].join("\n");
}

const pad = (cell: string, width: number, at: number) => (at === 0 ? cell.padEnd(width) : cell.padStart(width));
