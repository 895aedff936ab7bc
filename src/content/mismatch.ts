import { isLadingError } from "../errors.js";

/** True for content that was not what its descriptor says, which reading it once more may heal. */
export function isMismatch(error: unknown): boolean {
  return isLadingError(error) && (error.code === "digest-mismatch" || error.code === "size-mismatch");
}

/**
 * Runs a transfer, and once more from its start where its content was not what it should be: a bit flipped on the
 * way, or a partial download that does not fit. Where the source turns out to be one that cannot be read again,
 * the mismatch is what is thrown.
 */
export async function retryMismatchOnce<Result>(
  attempt: () => Promise<Result>,
  onRetry: ((reason: Error) => void) | undefined,
): Promise<Result> {
  try {
    return await attempt();
  } catch (mismatch) {
    if (!isMismatch(mismatch) || !(mismatch instanceof Error)) throw mismatch;
    onRetry?.(mismatch);
    try {
      return await attempt();
    } catch (second) {
      throw isLadingError(second) && second.code !== "internal" ? second : mismatch;
    }
  }
}
