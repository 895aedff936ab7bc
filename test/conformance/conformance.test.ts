import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Area, Point } from "./area.js";
import { base } from "./areas/base.js";
import { dataSets } from "./areas/data-sets.js";
import { deleting } from "./areas/deleting.js";
import { lists } from "./areas/lists.js";
import { manifests } from "./areas/manifests.js";
import { mounts } from "./areas/mounts.js";
import { pulling } from "./areas/pulling.js";
import { referrers } from "./areas/referrers.js";
import { uploads } from "./areas/uploads.js";
import { Client } from "./client.js";
import { apiKinds, dataSetNames, traps } from "./official-suite.js";
import { RegistryUnderTest, type Standing } from "./registry-under-test.js";
import { linkOf } from "./requirement.js";
import { requirements } from "./requirements.js";

const areas: Readonly<Record<string, Area>> = {
  "the base": base,
  pulling,
  uploads,
  mounts,
  manifests,
  lists,
  referrers,
  deleting,
  "sets of data": dataSets,
};

const standings: readonly Standing[] = [
  { storage: "memory", over: "calls" },
  { storage: "memory", over: "HTTP" },
  { storage: "file system", over: "calls" },
  { storage: "file system", over: "HTTP" },
];

const everyPoint: readonly Point[] = [
  ...requirements.map(({ id }) => id),
  ...apiKinds,
  ...dataSetNames,
  ...(Object.keys(traps) as (keyof typeof traps)[]),
];

describe.each(standings)("a registry in $storage, over $over", (standing) => {
  const registry = new RegistryUnderTest(standing);
  const client = new Client(registry);
  /** Tests that are declared for a point, less those that have passed. */
  const open = new Map<Point, number>();
  const count = (points: readonly Point[], by: number) => {
    for (const point of points) open.set(point, (open.get(point) ?? 0) + by);
  };

  beforeEach(() => registry.begin());
  afterEach(() => registry.end());

  for (const [name, area] of Object.entries(areas)) {
    describe(name, () => {
      area({
        registry,
        client,
        point: (points, title, body) => {
          count(points, 1);
          test(title, async () => {
            await body();
            count(points, -1);
          });
        },
      });
    });
  }

  // After all the others: what fails, is skipped or is not there at all leaves its points open.
  test("every row of the table has its tests, and they have passed", () => {
    const left = everyPoint.filter((point) => open.get(point) !== 0);
    expect(left.map((point) => [point, ...requirements.filter(({ id }) => id === point).map(linkOf)])).toEqual([]);
    expect([...open.keys()].filter((point) => !everyPoint.includes(point))).toEqual([]);
  });
});

test("the table holds each row once", () => {
  expect(new Set(everyPoint).size).toBe(everyPoint.length);
  expect([apiKinds.length, dataSetNames.length]).toEqual([28, 21]);
});
