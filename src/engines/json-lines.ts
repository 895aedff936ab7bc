import { LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";
import { engineFailure } from "./engine-error.js";

export type JsonObject = Readonly<Record<string, unknown>>;

export interface JsonLinesOptions {
  /** What the engine was doing, for errors: `loading the image`. */
  readonly doing: string;
  /** Bytes of one line. @default limits.engineLine */
  readonly limit?: number;
}

/**
 * Decodes the progress stream of an engine. The engine has said 200 before it knew the outcome, so an `error` or
 * `errorDetail` line is an error here, whatever came before it.
 * @throws LadingError `engine-failed`, `no-space`, `limit-exceeded`
 */
export async function* jsonLines(
  source: AsyncIterable<Uint8Array>,
  { doing, limit = limits.engineLine }: JsonLinesOptions,
): AsyncGenerator<JsonObject> {
  let pending: Uint8Array[] = [];
  let size = 0;
  const keep = (bytes: Uint8Array): void => {
    size += bytes.byteLength;
    if (size > limit) {
      throw new LadingError("limit-exceeded", `${doing}: a line of the engine's answer is longer than ${limit} bytes`, {
        limit: "engineLine",
      });
    }
    if (bytes.byteLength > 0) pending.push(bytes);
  };
  const take = (): JsonObject | null => {
    const line = Buffer.concat(pending).toString("utf8").trim();
    pending = [];
    size = 0;
    return line === "" ? null : parseLine(line, doing);
  };
  for await (const chunk of source) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
      keep(chunk.subarray(from, end));
      from = end + 1;
      const line = take();
      if (line !== null) yield line;
    }
    // A copy: what is kept must not hold (or change with) the buffer that it came in.
    keep(Buffer.from(chunk.subarray(from)));
  }
  const last = take();
  if (last !== null) yield last;
}

function parseLine(line: string, doing: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new LadingError("engine-failed", `${doing} failed: the engine's answer is cut off or no JSON`, { cause });
  }
  if (!isJsonObject(value)) throw new LadingError("engine-failed", `${doing} failed: the engine's answer is no object`);
  const detail = isJsonObject(value.errorDetail) ? value.errorDetail.message : undefined;
  // Podman's own form after 200: { cause, message, response }.
  const podman = typeof value.cause === "string" && typeof value.message === "string" ? value.message : undefined;
  const message = [value.error, detail, podman].find((text) => typeof text === "string" && text !== "");
  if (typeof message === "string") throw engineFailure(message, doing);
  if (value.error !== undefined || value.errorDetail !== undefined)
    throw engineFailure("an error without a text", doing);
  return value;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
