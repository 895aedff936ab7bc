import type { LadingError } from "../errors.js";
import type { CommandContext } from "./command-context.js";

/** What a verb leaves behind. Printing it is the same for all of them. */
export interface CommandResult {
  /** The value of `--json`. Left out: the verb has written to stdout itself. */
  readonly json?: unknown;
  /** stdout without `--json`, safe for a terminal. */
  readonly lines?: readonly string[];
  /** Bytes for stdout, whatever the flags. */
  readonly raw?: Uint8Array;
  /** Where several names were given: what went wrong, in the order of the names. The first decides the exit code. */
  readonly failures?: readonly LadingError[];
  /** The result stands and is printed, and yet the exit code is this error's: what `doctor` found. */
  readonly verdict?: LadingError | null;
}

/** The implementation of a verb: arguments and flags in, result out. Loaded when the verb runs, never before. */
export type Implementation<Arguments extends readonly unknown[], Options> = (
  context: CommandContext,
  args: Arguments,
  options: Options,
) => Promise<CommandResult>;
