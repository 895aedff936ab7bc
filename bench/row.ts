import type { Contest } from "./contest.js";
import type { World } from "./world.js";

/** One line of the table of what is to be reached. */
export interface Row {
  /** `P1`. */
  readonly id: string;
  readonly title: string;
  /** In words, as the table has it. */
  readonly target: string;
  /** Bytes of disk that a full run needs at most. */
  readonly disk: number;
  /** Programs without which the row says nothing. Peers that are missing are left out instead. */
  readonly needs: readonly string[];
  /** Sets up what the contests share, hands them over one by one, and cleans up at the end. */
  contests(world: World): AsyncIterable<Contest>;
}
