import { describe, expect, it } from "vitest";
import { bytesOf, millisecondsOf } from "./quantity.js";

describe("bytesOf", () => {
  it.each<readonly [unknown, number | null]>([
    [0, 0],
    [4096, 4096],
    [2n ** 40n, 2 ** 40],
    ["4096", 4096],
    ["1k", 1000],
    ["1K", 1000],
    ["1Ki", 1024],
    ["10G", 10e9],
    ["10GB", 10e9],
    ["512Mi", 512 * 2 ** 20],
    ["1.5M", 1_500_000],
    ["1T", 1e12],
    [" 1G ", 1e9],
    ["", null],
    ["G", null],
    ["-1", null],
    ["1e9", null],
    ["10 G", null],
    ["99999999T", null],
    [Number.NaN, null],
    [-1, null],
    [true, null],
    [[5], null],
    [null, null],
  ])("%s is %s", (value, bytes) => {
    expect(bytesOf(value)).toBe(bytes);
  });
});

describe("millisecondsOf", () => {
  it.each<readonly [unknown, number | null]>([
    [90, 90_000],
    ["90", 90_000],
    ["90s", 90_000],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["500ms", 500],
    ["1.5s", 1500],
    ["1m500ms", 60_500],
    [0.0001, 1],
    [0, null],
    ["0s", null],
    ["", null],
    ["s", null],
    ["5 s", null],
    ["1h30", null],
    ["-5", null],
    ["1e3", null],
    ["1000h", null],
    [{}, null],
  ])("%j is %j", (value, milliseconds) => {
    expect(millisecondsOf(value)).toBe(milliseconds);
  });
});
