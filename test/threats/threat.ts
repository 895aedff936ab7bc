import { test } from "vitest";

/** Rows of the tables A (client), B (host), C (archives, stores) and D (registry) of the threats. */
const row = /^[ABCD][1-9]\d?$/;

/**
 * A test of one row of the threats: its name begins with the row's id. Several tests of one row are fine.
 * @param body Ends on an error where the threat came true.
 * @param timeout ms. @default the suite's
 */
export function threat(id: string, title: string, body: () => Promise<void>, timeout?: number): void {
  if (!row.test(id)) throw new RangeError(`${id} is the id of no row`);
  test(`${id} ${title}`, body, timeout);
}
