import type { Socket } from "node:net";
import type { Clock } from "./clock.js";

/** In how many looks the time of a silence is divided: it is noticed that much late at most. */
const looks = 12;

export interface IdleWatchOptions {
  readonly clock: Clock;
  /** The connection; null while there is none yet. */
  readonly socket: () => Socket | null;
  /** How long it may be silent at this moment, in ms. */
  readonly allowed: () => number;
  /** Whether the silence is our own: a reader or a source that is slow. */
  readonly excused: () => boolean;
  /** Called once, at the end of a silence. */
  readonly onIdle: () => void;
}

/**
 * Watches a connection for silence. Looks are counted and not the hours, so that a machine that was asleep, or whose
 * clock was set, takes nobody for silent.
 * @returns Ends the watch.
 */
export function watchIdle({ clock, socket, allowed, excused, onIdle }: IdleWatchOptions): () => void {
  let cancel = () => {};
  let before: number | null = null;
  let silent = 0;
  const look = (elapsed: number) => {
    const connection = socket();
    const now = connection === null ? null : moved(connection);
    silent = now === null || now !== before || excused() ? 0 : silent + elapsed;
    before = now;
    if (silent >= allowed()) return onIdle();
    const next = allowed() / looks;
    cancel = clock.alarm(next, () => look(next));
  };
  look(0);
  return () => cancel();
}

/** Bytes that have gone over a connection, both ways, as far as the system has taken them. */
function moved(socket: Socket): number {
  // What Node itself asks before it calls a socket silent: a large write moves long before it is done.
  const { _handle } = socket as { readonly _handle?: { readonly writeQueueSize?: number } | null };
  return socket.bytesRead + socket.bytesWritten - (_handle?.writeQueueSize ?? 0);
}
