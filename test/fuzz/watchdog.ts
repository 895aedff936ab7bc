import { Worker } from "node:worker_threads";

/** How long one input may take, in ms: a guard against hanging, a thousand times what any needs. */
const patience = 60_000;

/**
 * Looks from a thread of its own whether inputs still pass: a parser that loops for ever stops everything else in its
 * process, timers included. It says what hangs, and ends the process.
 */
export class Watchdog {
  readonly #passed = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;

  /** @param told What to print where it hangs. */
  constructor(told: string) {
    const code = `
      const { workerData: { passed, told, patience } } = require("node:worker_threads");
      let last = -1;
      setInterval(() => {
        const now = Atomics.load(passed, 0);
        if (now === last) {
          require("node:fs").writeSync(2, "hangs at input " + now + ": " + told + "\\n");
          process.kill(process.pid, "SIGKILL");
        }
        last = now;
      }, patience);`;
    this.#worker = new Worker(code, { eval: true, workerData: { passed: this.#passed, told, patience } });
    this.#worker.unref();
  }

  /** One more input has passed. */
  pass(): void {
    Atomics.add(this.#passed, 0, 1);
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}
