import { createHash } from "node:crypto";

/** Random numbers that a seed decides. */
export interface Chance {
  /** From 0 to below `bound`, whole. */
  below(bound: number): number;
}

export function chanceOf(seed: string): Chance {
  let count = 0;
  return {
    below: (bound) => {
      const hash = createHash("sha256").update(`${seed}/${count++}`).digest();
      return Math.floor((hash.readUInt32BE() / 2 ** 32) * bound);
    },
  };
}

/** How many random rounds a fault runs: none in the ordinary suite, where the named points stand for them. */
export const randomRounds = Number(process.env.LADING_FAULT_ROUNDS ?? 0);

/**
 * Runs a round once for each seed; a failure names the seed and the command that repeats it alone.
 * Seeds are `LADING_FAULT_SEED` (default `1`) and the number of the round: `1.0`, `1.1`, …; a whole one is run as it is.
 */
export async function seeded(
  id: string,
  rounds: number,
  round: (chance: Chance, seed: string) => Promise<void>,
): Promise<void> {
  const project = id.startsWith("F") ? "faults" : "threats";
  const base = process.env.LADING_FAULT_SEED ?? "1";
  const seeds = base.includes(".") ? [base] : Array.from({ length: rounds }, (_, index) => `${base}.${index}`);
  for (const seed of seeds) {
    try {
      await round(chanceOf(`${id}/${seed}`), seed);
    } catch (error) {
      const again = `LADING_FAULT_SEED=${seed} LADING_FAULT_ROUNDS=1 npx vitest run --project ${project} -t '${id} '`;
      throw new Error(`seed ${seed} failed; again: ${again}`, { cause: error });
    }
  }
}
