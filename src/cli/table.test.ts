import { expect, it } from "vitest";
import { tableLines } from "./table.js";

const rows = [
  ["v1", "sha256:abc", "12"],
  ["latest", null, "7"],
];
const heading = ["TAG", "DIGEST", "SIZE"];
const stream = (isTTY: boolean) => ({ isTTY, write: () => true });

it("separates fields by tabs in a pipe, with no heading", () => {
  expect(tableLines({ stdout: stream(false), env: {} }, heading, rows)).toEqual(["v1\tsha256:abc\t12", "latest\t\t7"]);
});

it("aligns columns under a heading on a terminal", () => {
  expect(tableLines({ stdout: stream(true), env: { NO_COLOR: "1" } }, heading, rows)).toEqual([
    "TAG     DIGEST      SIZE",
    "v1      sha256:abc  12",
    "latest  -           7",
  ]);
});

it("escapes what could steer the terminal", () => {
  const [line] = tableLines({ stdout: stream(false), env: {} }, ["TAG"], [["a\tb\u001b[2J"]]);
  expect(line).toBe("a\\tb\\x1b[2J");
});
