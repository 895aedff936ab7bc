import { expect, it } from "vitest";
import { abortError, errorCodes, LadingError } from "../errors.js";
import { asLadingError, exitCode } from "./exit-code.js";
import { Interruption } from "./io.js";

it("has an exit code for every error code", () => {
  const table = Object.fromEntries(errorCodes.map((code) => [code, exitCode(new LadingError(code, "x"))]));
  expect(table).toEqual({
    internal: 1,
    "callback-failed": 1,
    closed: 1,
    usage: 64,
    "bad-reference": 64,
    "digest-mismatch": 65,
    "size-mismatch": 65,
    "manifest-invalid": 65,
    "archive-invalid": 65,
    "limit-exceeded": 65,
    "unsafe-url": 65,
    tls: 68,
    unreachable: 69,
    unsupported: 70,
    "not-found": 72,
    conflict: 73,
    io: 74,
    "no-space": 74,
    "rate-limited": 75,
    "engine-unavailable": 76,
    "engine-failed": 76,
    unauthorized: 77,
    denied: 77,
    "config-invalid": 78,
    timeout: 124,
    cancelled: 130,
  });
});

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("ends a run cancelled by %s with %d", (signal, code) => {
  expect(exitCode(abortError(AbortSignal.abort(new Interruption(signal))))).toBe(code);
});

it("takes what is no error of ours for a defect", () => {
  const cause = new TypeError("x is not a function");
  expect(asLadingError(cause)).toMatchObject({ code: "internal", cause });
  expect(asLadingError("text").code).toBe("internal");
});
