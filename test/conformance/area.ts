import type { Client } from "./client.js";
import type { apiKinds, dataSetNames, traps } from "./official-suite.js";
import type { RegistryUnderTest } from "./registry-under-test.js";
import type { requirements } from "./requirements.js";

type ApiKind = (typeof apiKinds)[number];
type DataSetName = (typeof dataSetNames)[number];

/** What a test can show to hold: a requirement, a kind of request or a set of data of the OCI suite, or a trap in it. */
export type Point = (typeof requirements)[number]["id"] | ApiKind | DataSetName | keyof typeof traps;

/** What the tests of an area work with. */
export interface Stage {
  readonly registry: RegistryUnderTest;
  readonly client: Client;
  /** Declares a test, and which points hold where it passes. */
  point(points: readonly Point[], title: string, body: () => Promise<void>): void;
}

/** The tests of one area of the specification. */
export type Area = (stage: Stage) => void;
