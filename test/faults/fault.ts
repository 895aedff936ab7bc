import { expect, type TestContext, test } from "vitest";
import { type Check, checkNames, isVerdict, type Verdict } from "./nothing-lost.js";

/** Rows of the table of faults. */
const row = /^F(?:0[1-9]|[1-3]\d|40)$/;

declare module "vitest" {
  interface TaskMeta {
    /** What the report prints of a fault: the checks that held, and why others of its list could not be made here. */
    fault?: { readonly checked: readonly string[]; readonly skipped: Readonly<Record<string, string>> };
  }
}

/**
 * A test of one row of the faults: its name begins with the row's id. Several tests of one row are fine.
 * @param checks Which of N1-N9 apply. The test fails where the body has made others, or fewer.
 * @param body Makes the fault, asserts what the row asks for, and ends in `return await nothingLost({…})`.
 * @param timeout ms, against hanging. @default 60000
 */
export function fault(
  id: string,
  title: string,
  checks: readonly [Check, ...Check[]],
  body: (context: TestContext) => Promise<Verdict>,
  timeout?: number,
): void {
  if (!row.test(id)) throw new RangeError(`${id} is the id of no fault`);
  if (checks.length === 0) throw new RangeError(`${id} checks nothing`);
  const unknown = checks.find((check) => !checkNames.includes(check));
  if (unknown !== undefined) throw new RangeError(`${id}: there is no ${unknown}`);
  test(
    `${id} ${title}`,
    async (context) => {
      const verdict: unknown = await body(context);
      if (!isVerdict(verdict)) throw new Error(`${id} does not end in nothingLost()`);
      expect([...verdict.checked].sort(), `${id} makes the checks that it lists`).toEqual([...checks].sort());
      const skipped = verdict.skipped;
      context.task.meta.fault = { checked: checks.filter((check) => skipped[check] === undefined), skipped };
    },
    timeout,
  );
}
