import { isLadingError } from "../errors.js";
import type { Answer, Send } from "./call.js";
import type { Clock } from "./clock.js";
import { redactedUrl, safeText } from "./registry-error.js";

/** Bytes of warnings that one client passes on; the specification allows no more per answer. */
const warningBudget = 4096;

/**
 * One line per request for `--debug`, without headers and without the values of signed URLs; and what a registry
 * itself wants people to know.
 */
export function log(
  send: Send,
  onDebug: ((text: string) => void) | null,
  onWarning: (text: string) => void,
  clock: Clock,
): Send {
  const told = new Set<string>();
  let budget = warningBudget;
  const passOn = (answer: Answer) => {
    for (const text of registryWarnings(answer.headers.warning)) {
      // Counted as it is shown: an escape takes more room than what it stands for.
      const shown = safeText(text);
      const size = Buffer.byteLength(shown);
      if (told.has(shown) || size > budget) continue;
      told.add(shown);
      budget -= size;
      onWarning(`${answer.url.host} says: ${shown}`);
    }
  };
  return async (call) => {
    const begin = clock.now();
    const line = (result: string) =>
      onDebug?.(`${call.method} ${redactedUrl(call.url)} ${result} ${clock.now() - begin} ms`);
    try {
      const answer = await send(call);
      line(String(answer.status));
      if (answer.headers.warning !== undefined) passOn(answer);
      return answer;
    } catch (error) {
      line(isLadingError(error) ? error.code : "failed");
      throw error;
    }
  };
}

/**
 * The texts of `Warning: 299 - "text"` headers; other codes are not for us.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#warnings
 */
function registryWarnings(header: string | undefined): readonly string[] {
  if (header === undefined) return [];
  return [...header.slice(0, longestHeader).matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)].map(([, text = ""]) =>
    text.replace(/\\(.)/g, "$1"),
  );
}

const longestHeader = 2 * warningBudget;
