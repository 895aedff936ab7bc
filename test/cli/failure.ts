import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { ErrorCode, Side } from "../../src/errors.js";
import type { LadingOptions, Machine, Outcome } from "./machine.js";
import { conforms } from "./schema.js";

export interface Failure {
  readonly code: ErrorCode;
  readonly side: Side | null;
  readonly operation: string | null;
  readonly image: string | null;
  readonly digest: string | null;
  readonly status: number | null;
  readonly limit: string | null;
  readonly message: string;
  readonly hint: string | null;
  readonly retryable: boolean;
  readonly exit: number;
}

/** The error of a failed `--json` run: stdout is empty, and the last line of stderr is the object. */
export function failureOf({ code, stdout, stderr }: Outcome): Failure {
  expect(stdout).toBe("");
  const last = stderr.trimEnd().split("\n").at(-1) ?? "";
  const { error } = conforms("error", JSON.parse(last)) as { readonly error: Failure };
  expect(error.exit).toBe(code);
  return error;
}

/** What a refusal is known by. */
export interface Expected {
  readonly code: ErrorCode;
  readonly side: Side | null;
  readonly exit: number;
}

/** Runs a command that has to fail as is said, tells what to do about it, and shows no stack and no escape sequence. */
export async function refused(
  machine: Machine,
  args: readonly string[],
  expected: Expected,
  options: LadingOptions = {},
): Promise<Failure> {
  const outcome = await machine.lading([...args, "--json"], options);
  const failure = failureOf(outcome);
  expect(failure, outcome.stderr).toMatchObject(expected);
  expect(failure.hint ?? "", `${failure.message}: what to do about it`).not.toBe("");
  expect(outcome.stderr).not.toMatch(/\n\s+at |\u001b/);
  return failure;
}

/** The names and images that a store holds, as they are on the disk. */
export async function storeIndex(directory: string): Promise<string | null> {
  return await readFile(join(directory, "index.json"), "utf8").catch(() => null);
}
