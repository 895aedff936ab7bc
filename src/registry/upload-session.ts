import { LadingError } from "../errors.js";
import { discard } from "./body.js";
import type { Answer } from "./call.js";
import type { Endpoint } from "./endpoint.js";

/** How long taking back a session may take, in ms. */
const cancelPatience = 2_000;

/** An upload session: where the next bytes go. */
export interface Session {
  readonly location: URL;
  /** Bytes that the registry has. */
  readonly offset: number;
  /** The least that a chunk may hold, but for the last one. */
  readonly minimum: number;
}

/** What an answer says of a session. @param assumed The offset where the answer names none. */
export function sessionOf(answer: Answer, before: Session | null, assumed: number): Session {
  const { location, range } = answer.headers;
  let url = before?.location ?? null;
  if (location !== undefined) {
    try {
      url = new URL(location, answer.url);
    } catch {
      url = null;
    }
  }
  if (url === null) throw new LadingError("unsafe-url", `${answer.url.host} names no readable upload location`);
  const last = /^(?:bytes[= ])?0-(\d{1,16})$/.exec(range ?? "")?.[1];
  const minimum = Number(answer.headers["oci-chunk-min-length"] ?? before?.minimum ?? 0);
  return {
    location: url,
    offset: before === null ? 0 : last === undefined ? assumed : Number(last) + 1,
    minimum: Number.isSafeInteger(minimum) && minimum > 0 ? minimum : 0,
  };
}

/** Takes a session back, so that what was sent does not lie about. Best effort, also after the caller has gone. */
export async function cancelSession(endpoint: Endpoint, { location }: Session): Promise<void> {
  try {
    const answer = await endpoint.send({
      method: "DELETE",
      url: location,
      role: "upload",
      actions: ["pull", "push"],
      expect: [200, 202, 204, 400, 404, 405],
      doing: "taking back an upload",
      retry: false,
      signal: AbortSignal.timeout(cancelPatience),
    });
    await discard(answer);
  } catch {
    // The registry's own clean-up will find it.
  }
}
