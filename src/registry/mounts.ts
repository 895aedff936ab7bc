import type { PutOptions } from "../content/store.js";
import { isLadingError, throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Endpoint } from "./endpoint.js";
import { isTransient } from "./retry.js";
import { cancelSession, type Session, sessionOf } from "./upload-session.js";

/** Repositories that a mount is tried from. */
const mountTries = 3;

/**
 * Asks the registry to take the blob over from another repository of its own. A refusal is no error; the session
 * that comes with it is kept.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#mounting-a-blob-from-another-repository
 */
export async function mountBlob(
  endpoint: Endpoint,
  { digest }: Descriptor,
  { mountFrom = [], signal }: PutOptions,
): Promise<"mounted" | Session | null> {
  let kept: Session | null = null;
  for (const from of mountFrom.filter((name) => name !== endpoint.name).slice(0, mountTries)) {
    const url = endpoint.url("blobs/uploads/");
    url.searchParams.set("mount", digest);
    url.searchParams.set("from", from);
    let session: Session | null = null;
    try {
      const answer = await endpoint.sendOnly({
        method: "POST",
        url,
        actions: ["pull", "push"],
        mountFrom: from,
        headers: { "content-length": "0" },
        expect: [201, 202],
        doing: `mounting ${digest} from ${from}`,
        digest,
        // Trouble here costs nothing but the bytes: the upload that follows has patience of its own.
        retry: false,
        signal,
      });
      if (answer.status === 202) session = sessionOf(answer, null, 0);
      else if (kept === null) return "mounted";
    } catch (error) {
      // Whatever a registry has against mounting, it may still take the bytes.
      throwIfAborted(signal);
      if (!isTransient(error) && !(isLadingError(error) && error.status !== null)) throw error;
      continue;
    }
    if (session === null) {
      if (kept !== null) await cancelSession(endpoint, kept);
      return "mounted";
    }
    if (kept === null) kept = session;
    else await cancelSession(endpoint, session);
  }
  return kept;
}
