import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Digest, DigestAlgorithm } from "../oci/digest.js";

/** A hash that another thread makes. */
export interface ThreadHash {
  /**
   * Hashes a chunk of shared memory, which the caller leaves alone until then. Does nothing where the thread is lost.
   */
  update(chunk: Uint8Array): Promise<void>;
  /** Null where the thread is lost, and with it what it had hashed. To be called once, at the end. */
  digest(): Promise<Digest | null>;
  /** Forgets what was hashed, where no digest is wanted any more. */
  drop(): void;
}

/** Source text and not a file, as in `deflate-pool.ts`. */
const program = `
const { parentPort } = require("node:worker_threads");
const { createHash } = require("node:crypto");
const hashes = new Map();
parentPort.on("message", ({ id, algorithm, chunk, end }) => {
  if (algorithm !== undefined) hashes.set(id, createHash(algorithm));
  const hash = hashes.get(id);
  if (end !== undefined) hashes.delete(id);
  if (chunk !== undefined) hash.update(chunk);
  parentPort.postMessage(end === "digest" ? hash.digest("hex") : null);
});
`;

interface Message {
  readonly id: number;
  /** Begins a hash. */
  readonly algorithm?: DigestAlgorithm;
  readonly chunk?: Uint8Array;
  readonly end?: "digest" | "drop";
}

/** After how many ms without work the thread ends. */
const idle = 5000;

/** One thread for the process: it hashes faster than a line or a disk moves bytes. It answers in the order in which it was asked. */
class HashThread {
  readonly #worker: Worker;
  readonly #waiting: ((answer: string | null) => void)[] = [];
  #timer: NodeJS.Timeout | null = null;
  lost = false;
  /** Hashes that are open: they keep the thread, but not the process. */
  open = 0;

  constructor() {
    // The host's flags (a test runner's loader, for one) are not meant for this program.
    this.#worker = new Worker(program, { eval: true, execArgv: [] });
    this.#worker.on("message", (answer: string | null) => {
      this.#waiting.shift()?.(answer);
      if (this.#waiting.length === 0) this.#rest();
    });
    this.#worker.on("error", () => this.#lose());
    this.#worker.on("exit", () => this.#lose());
  }

  ask(message: Message): Promise<string | null> {
    if (this.lost) return Promise.resolve(null);
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#worker.ref();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#worker.postMessage(message);
    });
  }

  #rest(): void {
    this.#worker.unref();
    if (this.open > 0) return;
    this.#timer = setTimeout(() => {
      this.lost = true;
      void this.#worker.terminate();
    }, idle).unref();
  }

  #lose(): void {
    this.lost = true;
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }
}

/** One for the process, as the pool of `deflate-pool.ts` is; it holds what open hashes have seen. */
let thread: HashThread | null = null;
let nextId = 0;

/** Null where a thread would not help: there is one core, or no thread can be started. */
export function openThreadHash(algorithm: DigestAlgorithm): ThreadHash | null {
  if (availableParallelism() < 2) return null;
  try {
    if (thread === null || thread.lost) thread = new HashThread();
  } catch {
    return null;
  }
  const own = thread;
  nextId += 1;
  const id = nextId;
  own.open += 1;
  void own.ask({ id, algorithm });
  let ended = false;
  const end = async (how: "digest" | "drop"): Promise<string | null> => {
    if (ended) return null;
    ended = true;
    own.open -= 1;
    return await own.ask({ id, end: how });
  };
  return {
    async update(chunk) {
      await own.ask({ id, chunk });
    },
    async digest() {
      const hex = await end("digest");
      return hex === null ? null : (`${algorithm}:${hex}` as Digest);
    },
    drop: () => void end("drop"),
  };
}
