import type { Sample } from "./measure.js";
import { type Summary, summaryOf } from "./statistics.js";

/** What a run is judged by. */
export type Metric = "seconds" | "cpu" | "memory";

/** Whether a goal is about what every run tells, rather than about a further figure of its row. */
export const isMetric = (name: string): name is Metric => ["seconds", "cpu", "memory"].includes(name);

/** One of those who are compared. */
export interface Contestant {
  readonly name: string;
  /** Whether it is Lading. */
  readonly ours: boolean;
  /**
   * One run: prepares what must not count, measures, checks that what arrived is whole, and cleans up.
   * @throws Error where something is not whole: a fast wrong answer is a failure
   */
  readonly run: () => Promise<Sample>;
}

/** What is to be reached. */
export interface Goal {
  /** One of those, or the name of a further figure. */
  readonly metric: Metric | (string & {});
  /** The contestant of ours that has to reach it. */
  readonly of: string;
  /** A contestant's name, the fastest peer, or a number in the metric's unit. */
  readonly against: string | "fastest peer" | number;
  /** Ours divided by the other one's, medians. */
  readonly atMost: number;
}

/** Some contestants doing the same. */
export interface Contest {
  /** `push of mixed, plain http`. */
  readonly name: string;
  readonly contestants: readonly Contestant[];
  readonly goals: readonly Goal[];
  /** One point of a line: how cost grows with what there is to do. */
  readonly grows?: { readonly series: string; readonly over: "bytes" | "layers" | "tags"; readonly by: number };
  /** Overrides how often; else at least five runs, three where one takes longer than 20 s. */
  readonly runs?: number;
}

export interface Entry {
  readonly name: string;
  readonly ours: boolean;
  readonly runs: readonly Sample[];
  readonly seconds: Summary;
  readonly cpu: Summary;
  readonly memory: Summary;
  /** Medians of the figures that only some rows have. */
  readonly extra: Readonly<Record<string, number>>;
}

export interface JudgedGoal extends Goal {
  readonly ratio: number;
  readonly met: boolean;
}

export interface ContestResult {
  readonly name: string;
  readonly entries: readonly Entry[];
  readonly goals: readonly JudgedGoal[];
}

export interface HoldOptions {
  /** One run each, nothing before. */
  readonly quick: boolean;
  /** When the row's time is over, in ms of `performance.now()`: no further round is begun then. */
  readonly deadline: number;
  readonly say: (text: string) => void;
}

const [shortRuns, longRuns, longSeconds] = [5, 3, 20];

/** Where as fast as the other one is asked for, this is as fast. */
const levelTolerance = 1.05;

/** Runs all contestants in turns, A B A B, after one round that warms up. */
export async function hold(contest: Contest, { quick, deadline, say }: HoldOptions): Promise<ContestResult> {
  const samples = new Map<string, Sample[]>(contest.contestants.map(({ name }) => [name, []]));
  const round = async (kept: boolean): Promise<number> => {
    let longest = 0;
    for (const { name, run } of contest.contestants) {
      const sample = await run();
      longest = Math.max(longest, sample.seconds);
      if (kept) samples.get(name)?.push(sample);
      say(`    ${kept ? " " : "(warm-up) "}${name}: ${sample.seconds.toFixed(3)} s`);
    }
    return longest;
  };
  let longest = 0;
  if (!quick) longest = await round(false);
  const wanted = contest.runs ?? (quick ? 1 : longest > longSeconds ? longRuns : shortRuns);
  for (let count = 0; count < wanted; count += 1) {
    if (count >= longRuns && performance.now() > deadline) {
      say(`    the row's time is over after ${count} of ${wanted} rounds`);
      break;
    }
    await round(true);
  }
  const entries = contest.contestants.map(({ name, ours }) => entryOf(name, ours, samples.get(name) ?? []));
  return { name: contest.name, entries, goals: contest.goals.map((goal) => judge(goal, entries)) };
}

function entryOf(name: string, ours: boolean, runs: readonly Sample[]): Entry {
  const of = (metric: Metric) => summaryOf(runs.map((run) => run[metric]));
  const names = new Set(runs.flatMap(({ extra }) => Object.keys(extra ?? {})));
  const extra = [...names].map((key) => [key, summaryOf(runs.map((run) => run.extra?.[key] ?? 0)).median] as const);
  return {
    name,
    ours,
    runs,
    seconds: of("seconds"),
    cpu: of("cpu"),
    memory: of("memory"),
    extra: Object.fromEntries(extra),
  };
}

function judge(goal: Goal, entries: readonly Entry[]): JudgedGoal {
  const medianOf = (entry: Entry) =>
    isMetric(goal.metric) ? entry[goal.metric].median : (entry.extra[goal.metric] ?? Number.NaN);
  const median = (name: string) => entries.filter((entry) => entry.name === name).map(medianOf)[0] ?? Number.NaN;
  const peers = entries.filter(({ ours }) => !ours).map(medianOf);
  const other =
    typeof goal.against === "number"
      ? goal.against
      : goal.against === "fastest peer"
        ? Math.min(...peers)
        : median(goal.against);
  const ratio = median(goal.of) / other;
  const bound = goal.atMost === 1 && typeof goal.against === "string" ? levelTolerance : goal.atMost;
  return { ...goal, ratio, met: ratio <= bound };
}
