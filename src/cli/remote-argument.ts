import type { Client } from "../client.js";
import { isLadingError, LadingError } from "../errors.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { TagOption } from "../image/tag.js";
import type { Reporter } from "./progress/reporter.js";

export interface RemoteArgumentOptions {
  readonly tagOption?: TagOption;
  /** Where a bare name is read as Docker Hub's, with a word about it: only `pull REMOTE` and `copy SRC`. */
  readonly hub?: Reporter;
}

/** A first component is a host only if it has a dot or a port, or is `localhost`, and something follows it. */
function beginsWithHost(text: string): boolean {
  const slash = text.indexOf("/");
  const first = text.slice(0, slash);
  return slash > 0 && slash < text.length - 1 && (first === "localhost" || /[.:]/.test(first));
}

/** What a bare name is on Docker Hub. */
function hubReading(text: string): string {
  return `docker.io/${text.includes("/") ? "" : "library/"}${text}`;
}

/**
 * A name in a remote position: `image:…`, or a reference that begins with a host. A bare name could be either of two
 * images, and is refused with both, unless `hub` is given.
 * @throws LadingError `bad-reference`
 */
export function remoteArgument(client: Client, text: string, options: RemoteArgumentOptions = {}): RemoteImage {
  const { tagOption = "default", hub } = options;
  const parsed = client.parse.remoteImage(text, { tagOption });
  if (text.startsWith("image:") || beginsWithHost(text)) return parsed;
  if (hub !== undefined) {
    hub.note(`reading ${text} as ${hubReading(text)}`);
    return parsed;
  }
  const platform = `image:${text}`;
  throw new LadingError("bad-reference", `${JSON.stringify(text)} could be ${platform} or ${hubReading(text)}`, {
    image: text,
    hint: `write ${platform} for ${readingOf(client, platform, tagOption)}, or ${hubReading(text)} for Docker Hub's`,
  });
}

function readingOf(client: Client, text: string, tagOption: TagOption): string {
  try {
    return client.parse.remoteImage(text, { tagOption }).toString();
  } catch {
    return "the platform's";
  }
}

/** Runs what was asked of an image that may have been read as Docker Hub's, and says so where it fails. */
export async function withHubHint<T>(text: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!isLadingError(error) || text.startsWith("image:") || beginsWithHost(text) || error.code === "cancelled") {
      throw error;
    }
    const hint = `${text} was read as ${hubReading(text)}; the platform's image is image:${text}`;
    throw new LadingError(error.code, error.message, {
      ...error.toJSON(),
      hint: error.hint === null ? hint : `${hint}. ${error.hint}`,
      cause: error.cause,
    });
  }
}
