import type { Contest, ContestResult } from "./contest.js";
import { growthExponent } from "./statistics.js";

/** How a cost grows with what there is to do. */
export interface Growth {
  /** `push, seconds over bytes` */
  readonly name: string;
  /** The exponent that fits best: 1 is linear. */
  readonly exponent: number;
  /** What was measured: how much there was, and what it cost. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
  readonly atMost: number;
  readonly met: boolean;
}

/** Linear, with what a measurement of small things adds: the start of a program counts in the first point, and flattens the line. */
const linear = 1.1;

/** The growth of Lading's own time and requests, over the contests of a row that belong together. */
export function growthsOf(contests: readonly Contest[], results: readonly ContestResult[]): readonly Growth[] {
  const series = new Map<string, { x: number; y: number }[]>();
  contests.forEach(({ grows }, index) => {
    const entry = results[index]?.entries.find(({ ours }) => ours);
    if (grows === undefined || entry === undefined) return;
    const figures = { seconds: entry.seconds.median, requests: entry.extra.requests };
    for (const [figure, y] of Object.entries(figures)) {
      if (y === undefined) continue;
      const name = `${grows.series}, ${figure} over ${grows.over}`;
      series.set(name, [...(series.get(name) ?? []), { x: grows.by, y }]);
    }
  });
  return [...series].flatMap(([name, points]) => {
    if (points.length < 2) return [];
    const exponent = growthExponent(points);
    return [{ name, exponent, points, atMost: linear, met: exponent <= linear }];
  });
}

export const growthText = ({ name, exponent, points, atMost, met }: Growth): string =>
  `${met ? "met" : "NOT MET"}: ${name} grows with exponent ${exponent.toFixed(2)}, to reach: ${atMost} (${points
    .map(({ x, y }) => `${Number(x.toPrecision(3))}: ${Number(y.toPrecision(3))}`)
    .join(", ")})`;
