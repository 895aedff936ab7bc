import { type ErrorCode, isLadingError, LadingError } from "../errors.js";
import { Interruption } from "./io.js";

const exitCodes: Readonly<Record<Exclude<ErrorCode, "cancelled">, number>> = {
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
};

/** The exit code of an error, by its code alone; a cancelled run ends as the signal that cancelled it. */
export function exitCode(error: LadingError): number {
  if (error.code === "cancelled") {
    return error.cause instanceof Interruption && error.cause.signal === "SIGTERM" ? 143 : 130;
  }
  return exitCodes[error.code];
}

/** Whatever was thrown, as a LadingError: an error that is none of ours is a defect of ours. */
export function asLadingError(error: unknown): LadingError {
  if (isLadingError(error)) return error.cause instanceof Interruption ? interrupted(error) : error;
  const message = error instanceof Error ? error.message : String(error);
  return new LadingError("internal", message === "" ? "an error without a message" : message, {
    hint: "this is a defect in Lading: please report it with the output of the same command under --debug",
    cause: error,
  });
}

/** The caller whom the SDK speaks of is the person in front of the terminal. */
function interrupted(error: LadingError): LadingError {
  const goesOn = error.operation === "push" || error.operation === "pull" || error.operation === "copy";
  return new LadingError(error.code, "cancelled", {
    ...error.toJSON(),
    hint: goesOn ? "the same command goes on with what is complete" : null,
    cause: error.cause,
  });
}
