import { expect, it } from "vitest";
import { LadingError } from "./errors.js";

it("keeps the beginning of a message that a stranger has made long", () => {
  const { message } = new LadingError("io", `it says ${"x".repeat(1_000_000)}`);
  expect(message).toHaveLength(4096);
  expect(message).toMatch(/^it says x+…$/);
});
