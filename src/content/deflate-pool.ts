import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { type Block, blockBound, blockSize, inputOf, outputOf } from "./blocks.js";
import { type CompiledZlib, compileZlib, createDeflate, type DeflateBlock, deflateLevel } from "./deflate-block.js";

/** Compresses single blocks. */
export interface DeflatePool {
  /** How many blocks are worked on at once. */
  readonly size: number;
  /**
   * Writes one block as raw deflate into its output; results can be joined. The caller leaves the block's memory alone until then.
   * @param few Hardly any blocks come after it: then no thread is started for it.
   * @returns Bytes of the output.
   */
  deflate(block: Block, few?: boolean): Promise<number>;
}

/**
 * The thread's program. Source text and not a file, because it has to run from TypeScript under a test runner, from `dist`, and from a
 * bundle alike.
 */
const program = `
const { parentPort, workerData } = require("node:worker_threads");
const { compiled, level, size, bound } = workerData;
const deflate = (${createDeflate.toString()})(compiled, level, size, bound);
parentPort.on("message", ({ memory, length }) => {
  try {
    parentPort.postMessage({ made: deflate(memory.subarray(0, length), memory.subarray(size)) });
  } catch (error) {
    parentPort.postMessage({ error: String(error) });
  }
});
`;

interface Answer {
  readonly made?: number;
  readonly error?: string;
}

interface Task {
  readonly block: Block;
  readonly resolve: (made: number) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  task: Task | null;
}

export interface ThreadedDeflatePool extends DeflatePool {
  /** Threads alive. */
  readonly threads: number;
  /** Ends the threads that have nothing to do; the next block starts new ones. */
  close(): Promise<void>;
}

export interface DeflatePoolOptions {
  /** @default the processor's cores, at most 4: each thread takes some 12 MB, and a transfer has to stay below 256 MiB */
  readonly threads?: number;
  /** After how many ms without work the threads are ended. @default 5000 */
  readonly idle?: number;
}

/**
 * Threads that start with the first block of full size, keep the process alive only while they work, and end when there has been
 * nothing to do. Where a thread can't be started or dies, the calling thread does the work: slower, with the same bytes.
 */
export function createDeflatePool(options: DeflatePoolOptions = {}): ThreadedDeflatePool {
  const { threads: size = Math.min(availableParallelism(), 4), idle = 5000 } = options;
  const threads = new Set<Thread>();
  const waiting: Task[] = [];
  let usable = size > 0;
  let compiled: CompiledZlib | null = null;
  let here: DeflateBlock | null = null;
  let timer: NodeJS.Timeout | null = null;

  const close = async (): Promise<void> => {
    const ending = [...threads].filter(({ task }) => task === null);
    for (const thread of ending) threads.delete(thread);
    await Promise.all(ending.map(({ worker }) => worker.terminate()));
  };

  const zlib = (): CompiledZlib => {
    compiled ??= compileZlib();
    return compiled;
  };

  const settleHere = (task: Task): void => {
    try {
      here ??= createDeflate(zlib(), deflateLevel, blockSize, blockBound);
      task.resolve(here(inputOf(task.block), outputOf(task.block)));
    } catch (error) {
      task.reject(error instanceof Error ? error : new Error(String(error)));
    }
  };

  const lost = (thread: Thread): void => {
    if (!threads.delete(thread)) return;
    usable = false;
    // The block is still here: its memory is shared with the thread.
    if (thread.task !== null) settleHere(thread.task);
    if (threads.size === 0) for (const task of waiting.splice(0)) settleHere(task);
  };

  const start = (): Thread => {
    const worker = new Worker(program, {
      eval: true,
      workerData: { compiled: zlib(), level: deflateLevel, size: blockSize, bound: blockBound },
      // The host's flags (a test runner's loader, for one) are not meant for this program.
      execArgv: [],
    });
    const thread: Thread = { worker, task: null };
    threads.add(thread);
    worker.on("message", ({ made, error }: Answer) => {
      const { task } = thread;
      thread.task = null;
      if (made !== undefined) task?.resolve(made);
      else task?.reject(new Error(`compressing failed: ${error}`));
      next(thread);
    });
    worker.on("error", () => lost(thread));
    worker.on("exit", () => lost(thread));
    return thread;
  };

  const next = (thread: Thread): void => {
    const task = waiting.shift();
    if (task === undefined) {
      thread.worker.unref();
      timer ??= setTimeout(() => {
        timer = null;
        close().catch(() => {});
      }, idle).unref();
      timer.refresh();
      return;
    }
    thread.task = task;
    thread.worker.ref();
    thread.worker.postMessage(task.block);
  };

  return {
    size: Math.max(size, 1),
    get threads() {
      return threads.size;
    },
    close,
    deflate: (block, few = false) =>
      new Promise((resolve, reject) => {
        const task: Task = { block, resolve, reject };
        // Such a layer is compressed before threads would have started, each of which takes 40 ms of a core.
        if (!usable || ((few || block.length < blockSize / 4) && threads.size === 0)) {
          settleHere(task);
          return;
        }
        waiting.push(task);
        const free = [...threads].find((thread) => thread.task === null);
        try {
          if (free !== undefined) next(free);
          else if (threads.size < size) next(start());
        } catch {
          usable = false;
          if (threads.size === 0) for (const left of waiting.splice(0)) settleHere(left);
        }
      }),
  };
}

/**
 * One pool for the process, since cores are the process's: several transfers, or several clients, must not start threads each. The
 * one piece of shared state here; it holds no data between two blocks.
 */
export const sharedDeflatePool: DeflatePool = createDeflatePool();
