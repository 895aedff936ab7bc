import type { Row } from "../row.js";
import { againRows } from "./again.js";
import { coldRows } from "./cold.js";
import { embeddedRows } from "./embedded.js";
import { engineRows } from "./engines.js";
import { farRows } from "./far.js";
import { memoryRows } from "./memory.js";
import { startUpRows } from "./start-up.js";

const all: readonly Row[] = [
  ...coldRows,
  ...againRows,
  ...embeddedRows,
  ...engineRows,
  ...farRows,
  ...memoryRows,
  ...startUpRows,
];

/** In the order of their numbers: P1, P1t, P2, … */
export const rows: readonly Row[] = [...all].sort((left, right) =>
  left.id.localeCompare(right.id, "en", { numeric: true }),
);
