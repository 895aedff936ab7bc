import { type LimitName, limits } from "./limits.js";

/** How much is taken: a limit by its name, which the error then says; or a number of the caller's own. */
export type Bound = LimitName | number;

/** The number of a bound, and the name that an error says. */
export function boundOf(bound: Bound): { readonly most: number; readonly limit: LimitName | null } {
  return typeof bound === "number" ? { most: bound, limit: null } : { most: limits[bound], limit: bound };
}
