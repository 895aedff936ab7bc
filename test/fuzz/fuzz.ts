import { relative } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type ErrorCode, isLadingError } from "../../src/errors.js";
import { Watchdog } from "./watchdog.js";

/** Inputs for each property: 1000 in CI, 100 000 in `npm run test:long`. */
export const runs = Number(process.env.LADING_FUZZ_RUNS ?? 1000);
/** What decides the inputs. */
export const seed = Number(process.env.LADING_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
if (![runs, seed].every(Number.isSafeInteger))
  throw new RangeError("LADING_FUZZ_RUNS and LADING_FUZZ_SEED are whole numbers");

/** Characters of an error's message: none may grow with what a stranger sends. */
const messageBound = 4096;
/** From so many inputs on, the heap at the end is compared with the heap at a tenth, in bytes. */
const heapBound = 64 * 1024 * 1024;
const heapRuns = 20_000;

/**
 * A property that has to hold for any input. What fails is printed with the command that repeats it.
 * @param input Where the inputs come from.
 */
export function fuzz<Input>(
  name: string,
  input: fc.Arbitrary<Input>,
  property: (input: Input) => void | Promise<void>,
): void {
  it(
    name,
    async () => {
      const again = `LADING_FUZZ_SEED=${seed} LADING_FUZZ_RUNS=${runs} npx vitest run --project fuzz ${testFile()} -t '${name}'`;
      const watchdog = new Watchdog(again);
      let passed = 0;
      let early = 0;
      try {
        await fc.assert(
          fc.asyncProperty(input, async (value) => {
            await property(value);
            watchdog.pass();
            passed += 1;
            if (passed === runs / 10) early = heapUsed();
          }),
          { seed, numRuns: runs },
        );
      } catch (error) {
        throw new Error(`${error instanceof Error ? error.message : String(error)}\nagain: ${again}`, { cause: error });
      } finally {
        await watchdog.stop();
      }
      if (runs >= heapRuns) expect(heapUsed() - early, "the heap grows with the inputs").toBeLessThan(heapBound);
    },
    // A guard: a hundred times what a run needs on an idle machine.
    Math.max(120_000, runs * 100),
  );
}

/** What an act gives; null where it refuses with one of these codes. Everything else is a finding. */
export async function unlessRefused<Result>(
  codes: readonly ErrorCode[],
  act: () => Result | Promise<Result>,
): Promise<Result | null> {
  try {
    return await act();
  } catch (error) {
    if (!isLadingError(error)) throw error;
    expect(codes, error.stack ?? "").toContain(error.code);
    expect(error.message.length, "an error's message").toBeLessThanOrEqual(messageBound);
    return null;
  }
}

function heapUsed(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

function testFile(): string {
  return relative(process.cwd(), expect.getState().testPath ?? "");
}
