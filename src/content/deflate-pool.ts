import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Deflate } from "fflate";
import type { Block } from "./blocks.js";

/** Bytes of the source per block. Part of `compressorId`. */
export const deflateBlockSize = 1024 * 1024;
/**
 * Part of `compressorId`. Level 1: 44 MB/s per core at 41 % of the size, where level 3 has 30 MB/s at 39 %. `mem` is given because its
 * default depends on `Math.log`, which may differ between engines in the last bit.
 */
export const deflateSettings = { level: 1, mem: 8 } as const;

/** Compresses single blocks. */
export interface DeflatePool {
  /** How many blocks are worked on at once. */
  readonly size: number;
  /**
   * One block as raw deflate without a final block, ended by a sync flush: results can be joined.
   * The caller leaves the block's bytes as they are until then.
   */
  deflate(block: Block): Promise<Uint8Array>;
}

/**
 * Compresses one block with the library's streaming class, and ends it at a byte border with an empty stored block (what zlib calls a
 * sync flush). The border is made here: `flush(true)` of fflate 0.8.3 writes the block's header at the wrong bit. The bits that are
 * left over, `s.r` (the last byte shifted by 3, and how many of its bits count), have no public name; the version is pinned, and the
 * golden vectors would tell.
 *
 * Self-contained, since its text is also the program of a thread.
 */
function deflateWith(
  Compressor: typeof Deflate,
  settings: typeof deflateSettings,
  block: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const deflate = new Compressor(settings, (part) => parts.push(part));
  deflate.push(block, false);
  deflate.flush(false);
  const rest = (deflate as unknown as { s: { r: number } }).s.r;
  if (typeof rest !== "number") throw new Error("this is not the fflate that the compressor is made for");
  // Three header bits follow the bits that are left over: a new byte begins where they do not fit.
  const border = [rest >> 3, 0, 0, 0xff, 0xff];
  if ((rest & 7) > 5) border.splice(1, 0, 0);
  parts.push(Uint8Array.from(border));
  const result = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** The work on the calling thread: for what is too small for threads, and where none can be started. */
export function deflateBlock(block: Uint8Array): Uint8Array {
  return deflateWith(Deflate, deflateSettings, block);
}

/**
 * The thread's program. Source text and not a file, because it has to run from TypeScript under a test runner, from `dist`, and from a
 * bundle alike.
 */
const program = `
const { parentPort, workerData } = require("node:worker_threads");
const { Deflate } = require(workerData.fflate);
const deflate = ${deflateWith.toString()};
parentPort.on("message", (block) => {
  try {
    const result = deflate(Deflate, workerData.settings, block);
    parentPort.postMessage({ result }, [result.buffer]);
  } catch (error) {
    parentPort.postMessage({ error: String(error) });
  }
});
`;

/** Where the threads find fflate; null where it is nowhere but inside a bundle. */
function fflatePath(): string | null {
  try {
    return createRequire(import.meta.url).resolve("fflate");
  } catch {
    return null;
  }
}

interface Answer {
  readonly result?: Uint8Array;
  readonly error?: string;
}

interface Task {
  readonly block: Block;
  readonly resolve: (result: Uint8Array) => void;
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
  /** @default the processor's cores, at most 2: each thread takes some 30 MB, and a transfer has to stay below 256 MiB */
  readonly threads?: number;
  /** After how many ms without work the threads are ended. @default 5000 */
  readonly idle?: number;
}

/**
 * Threads that start with the first block of full size, keep the process alive only while they work, and end when there has been
 * nothing to do. Where a thread can't be started or dies, the calling thread does the work: slower, with the same bytes.
 */
export function createDeflatePool(options: DeflatePoolOptions = {}): ThreadedDeflatePool {
  const { threads: size = Math.min(availableParallelism(), 2), idle = 5000 } = options;
  const threads = new Set<Thread>();
  const waiting: Task[] = [];
  let usable = size > 0;
  let path: string | null | undefined;
  let timer: NodeJS.Timeout | null = null;

  const close = async (): Promise<void> => {
    const ending = [...threads].filter(({ task }) => task === null);
    for (const thread of ending) threads.delete(thread);
    await Promise.all(ending.map(({ worker }) => worker.terminate()));
  };

  const settleHere = (task: Task): void => {
    try {
      task.resolve(deflateBlock(task.block));
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

  const start = (fflate: string): Thread => {
    const worker = new Worker(program, {
      eval: true,
      workerData: { fflate, settings: deflateSettings },
      // The host's flags (a test runner's loader, for one) are not meant for this program.
      execArgv: [],
    });
    const thread: Thread = { worker, task: null };
    threads.add(thread);
    worker.on("message", ({ result, error }: Answer) => {
      const { task } = thread;
      thread.task = null;
      if (result !== undefined) task?.resolve(result);
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
    deflate: (block) =>
      new Promise((resolve, reject) => {
        const task: Task = { block, resolve, reject };
        // A layer of one short block is compressed before a thread would have started.
        if (usable && path === undefined) path = fflatePath();
        if (!usable || typeof path !== "string" || (block.byteLength < deflateBlockSize / 4 && threads.size === 0)) {
          settleHere(task);
          return;
        }
        waiting.push(task);
        const free = [...threads].find((thread) => thread.task === null);
        try {
          if (free !== undefined) next(free);
          else if (threads.size < size) next(start(path));
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
