import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

/** Rounds of an imported hash, as a power of two: one more doubles what a login costs us. */
const highestCost = 14;

/** `$2y$` is what htpasswd writes; it means what others call `$2b$`. */
export function isBcrypt(hash: string): boolean {
  const match = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash);
  return match !== null && Number(match[1]) >= 4 && Number(match[1]) <= highestCost;
}

const program = `
const { parentPort, workerData } = require("node:worker_threads");
import(workerData.library).then(async ({ default: bcrypt }) => {
  parentPort.postMessage(await bcrypt.compare(workerData.password, workerData.hash));
});
`;

/**
 * Compares in a thread of its own, since it is all computing. Each imported password passes here once: then it is
 * kept as one of ours.
 */
export async function verifyBcrypt(password: string, hash: string): Promise<boolean> {
  if (!isBcrypt(hash)) return false;
  const library = pathToFileURL(createRequire(import.meta.url).resolve("bcryptjs")).href;
  return await new Promise<boolean>((resolve, reject) => {
    const worker = new Worker(program, { eval: true, workerData: { library, password, hash } });
    worker.once("message", (same: boolean) => resolve(same));
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the thread that compares passwords ended early")));
  });
}
