import { ioError, isLadingError } from "../errors.js";

/**
 * What a caller's source or callback threw, on its way through code that touches the disk: so that it is not taken
 * for a failure of the disk. Errors of Lading's own need no such coat.
 */
export class ForeignError extends Error {
  constructor(cause: unknown) {
    super("thrown by the caller", { cause });
  }
}

function foreign(error: unknown): unknown {
  return isLadingError(error) ? error : new ForeignError(error);
}

export function foreignCall(call: () => void): void {
  try {
    call();
  } catch (error) {
    throw foreign(error);
  }
}

export async function* foreignStream(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    throw foreign(error);
  }
}

/**
 * Runs file operations. What the system throws becomes `io` or `no-space`; what a caller's code threw comes out as
 * it was.
 */
export async function onDisk<Result>(doing: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof ForeignError ? error.cause : ioError(error, doing);
  }
}
