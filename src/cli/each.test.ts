import { expect, it } from "vitest";
import { LadingError } from "../errors.js";
import { each } from "./each.js";

it("tries the rest after a failure, and keeps the order", async () => {
  const { values, failures } = await each([1, 2, 3, 4], async (item) => {
    if (item % 2 === 0) throw new LadingError(item === 2 ? "not-found" : "conflict", String(item));
    return item;
  });
  expect(values).toEqual([1, 3]);
  expect(failures.map(({ code }) => code)).toEqual(["not-found", "conflict"]);
});

it("stops where the whole run was cancelled", async () => {
  const tried: number[] = [];
  const { failures } = await each([1, 2, 3], async (item) => {
    tried.push(item);
    throw new LadingError("cancelled", "stop");
  });
  expect(tried).toEqual([1]);
  expect(failures).toHaveLength(1);
});
