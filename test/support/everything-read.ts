import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until whoever is at the other end of a connection within this machine has read all that was written to it: the
 * kernel holds nothing more of it, which a reset would throw away. Where the kernel does not say (it is not Linux), waits
 * for 50 ms. Rejects after 30 s.
 */
export async function everythingRead(socket: Socket, signal: AbortSignal): Promise<void> {
  const { localPort, remotePort } = socket;
  if (localPort === undefined || remotePort === undefined) return;
  const deadline = performance.now() + 30_000;
  // What is still in Node's own buffer is not the kernel's yet.
  while (socket.writableLength > 0 || (await held(localPort, remotePort))) {
    if (socket.destroyed) return;
    if (performance.now() > deadline) throw new Error("nobody reads what was sent");
    await sleep(2, undefined, { signal });
  }
  if (process.platform !== "linux") await sleep(50, undefined, { signal });
}

/** Whether the kernel holds bytes on their way from one port to another. */
async function held(from: number, to: number): Promise<boolean> {
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const row of (await readFile(table, "utf8").catch(() => "")).split("\n").slice(1)) {
      const [, local = "", remote = "", , queues = ""] = row.trim().split(/\s+/);
      const [sending, unread] = queues.split(":").map((count) => Number.parseInt(count, 16));
      const [here, there] = [local, remote].map((end) => Number.parseInt(end.split(":")[1] ?? "", 16));
      if (here === from && there === to && sending !== 0) return true;
      if (here === to && there === from && unread !== 0) return true;
    }
  }
  return false;
}
