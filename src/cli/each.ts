import type { LadingError } from "../errors.js";
import { asLadingError } from "./exit-code.js";

/**
 * Does the same with several names, one after the other: what fails is kept and the rest is still tried, except when
 * the whole run was cancelled or its time is over.
 */
export async function each<Item, Value>(
  items: readonly Item[],
  task: (item: Item) => Promise<Value>,
): Promise<{ readonly values: Value[]; readonly failures: LadingError[] }> {
  const values: Value[] = [];
  const failures: LadingError[] = [];
  for (const item of items) {
    try {
      values.push(await task(item));
    } catch (thrown) {
      const error = asLadingError(thrown);
      failures.push(error);
      if (error.code === "cancelled" || error.code === "timeout") break;
    }
  }
  return { values, failures };
}
