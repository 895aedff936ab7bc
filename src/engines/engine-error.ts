import { abortError, isLadingError, LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { type EngineEndpoint, endpointText } from "./endpoint.js";

const storeHint = "or work without an engine: --engine store";
const absent: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED", "ENOTSOCK", "ENOTDIR"]);
const refused: ReadonlySet<string> = new Set(["EACCES", "EPERM"]);
const unreachable: ReadonlySet<string> = new Set([
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EHOSTDOWN",
]);

/** A failed connection or a broken exchange, as a LadingError. Errors of ours pass as they are. */
export function connectionError(error: unknown, endpoint: EngineEndpoint, signal?: AbortSignal): LadingError {
  if (signal?.aborted === true) return abortError(signal);
  if (isLadingError(error)) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
  const reason = cut(error instanceof Error ? error.message : String(error));
  const where = endpointText(endpoint);
  if (absent.has(code)) {
    const start = where.includes("podman")
      ? "systemctl --user start podman.socket"
      : "systemctl start docker, or open Docker Desktop; Podman: systemctl --user start podman.socket";
    return new LadingError("engine-unavailable", `no engine answers at ${where} (${code})`, {
      hint: `start it (for example: ${start}), ${storeHint}`,
      cause: error,
    });
  }
  if (refused.has(code)) {
    return new LadingError("engine-unavailable", `the engine's socket ${where} may not be opened by this user`, {
      hint: `add the user to the docker group (usermod -aG docker NAME, then log in again) or use sudo, ${storeHint}`,
      cause: error,
    });
  }
  if (unreachable.has(code)) {
    return new LadingError("engine-unavailable", `${where} can't be reached: ${reason}`, {
      hint: `check the address and the network, ${storeHint}`,
      retryable: true,
      cause: error,
    });
  }
  if (isTlsError(code, error)) {
    return new LadingError("tls", `no trusted TLS connection to the engine at ${where}: ${reason}`, {
      hint: "check ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH",
      cause: error,
    });
  }
  return new LadingError("engine-failed", `the connection to the engine at ${where} broke: ${reason}`, {
    retryable: true,
    cause: error,
  });
}

function isTlsError(code: string, error: unknown): boolean {
  if (code.startsWith("ERR_TLS") || code.startsWith("ERR_SSL") || code.startsWith("CERT_")) return true;
  if (/CERT|SELF_SIGNED|UNABLE_TO_/.test(code)) return true;
  // An engine that speaks TLS, asked without it, and the other way round.
  return (
    code === "EPROTO" || (error instanceof Error && /client sent an HTTP request to an HTTPS/i.test(error.message))
  );
}

/** An answer with an error status, as a LadingError. `doing` completes the sentence "the engine … failed". */
export function statusError(status: number, message: string, doing: string): LadingError {
  const text = cut(message);
  if (status === 404) return new LadingError("not-found", `${doing}: the engine says: ${text}`, { status });
  if (status === 409) {
    return new LadingError("conflict", `${doing}: the engine says: ${text}`, {
      status,
      hint: "stop what uses the image, remove its other names, or use --force",
    });
  }
  if (status === 400 && /HTTP request to an HTTPS server/i.test(text)) {
    return new LadingError("tls", `${doing}: the engine wants TLS`, {
      status,
      hint: "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
    });
  }
  return engineFailure(text, doing, status);
}

/** What an engine itself reported, in an answer or in its stream. A full disk is told apart. */
export function engineFailure(message: string, doing: string, status: number | null = null): LadingError {
  const text = cut(message);
  if (/no space left on device|disk quota exceeded/i.test(text)) {
    return new LadingError("no-space", `${doing}: the engine says: ${text}`, {
      status,
      hint: "free space where the engine keeps its images (docker system df, docker image prune)",
    });
  }
  return new LadingError("engine-failed", `${doing} failed: the engine says: ${text}`, { status });
}

function cut(text: string): string {
  const trimmed = text.trim();
  return trimmed.length > limits.errorText ? `${trimmed.slice(0, limits.errorText)}…` : trimmed;
}
