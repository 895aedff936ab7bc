import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder that is gone after the test; `memory`: where flushing to the disk costs nothing, if there is such a place. */
export async function temporaryFolder({ memory = false } = {}): Promise<string> {
  const shared = memory && (await stat("/dev/shm").catch(() => null)) !== null;
  const directory = await mkdtemp(join(shared ? "/dev/shm" : tmpdir(), "lading-test-"));
  onTestFinished(async () => await rm(directory, { recursive: true, force: true }));
  return directory;
}
