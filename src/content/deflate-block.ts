import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { LadingError } from "../errors.js";

/** zlib's fastest level: 70 MB/s per core at 41 % of the size. Part of `compressorId`. */
export const deflateLevel = 1;

/** What of it is used here; the types of Node 20 do not have it. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => CompiledZlib;
  readonly Instance: new (compiled: CompiledZlib) => { readonly exports: object };
};

/** zlib as compiled code, which threads can share. */
export interface CompiledZlib {
  readonly [Symbol.toStringTag]?: string;
}

/** The functions of zlib-streams. Addresses and sizes are bytes of its memory. */
interface Zlib {
  readonly memory: { readonly buffer: ArrayBuffer };
  _initialize(): void;
  malloc(size: number): number;
  deflate_new(): number;
  deflate_init_raw(stream: number, level: number): number;
  /** Bytes made, with zlib's code in the highest 8 bits. */
  deflate_process(stream: number, from: number, size: number, to: number, bound: number, flush: number): number;
  deflate_last_consumed(stream: number): number;
  deflate_end(stream: number): number;
}

/** Compresses `input` into `output`, and says how many bytes that made. */
export type DeflateBlock = (input: Uint8Array, output: Uint8Array) => number;

/**
 * A compressor of blocks of at most `size` bytes, in a memory of its own that does not grow. Each block is raw deflate for itself
 * without a final block, ended by a sync flush: results can be joined.
 *
 * Self-contained, since its text is also a part of the threads' program.
 */
export function createDeflate(compiled: CompiledZlib, level: number, size: number, bound: number): DeflateBlock {
  const zlib = new WebAssembly.Instance(compiled).exports as Zlib;
  zlib._initialize();
  const from = zlib.malloc(size);
  const to = zlib.malloc(bound);
  const syncFlush = 2;
  return (input, output) => {
    new Uint8Array(zlib.memory.buffer).set(input, from);
    const stream = zlib.deflate_new();
    if (stream === 0 || zlib.deflate_init_raw(stream, level) !== 0) throw new Error("zlib has no memory");
    const result = zlib.deflate_process(stream, from, input.length, to, bound, syncFlush);
    const whole = result >>> 24 === 0 && zlib.deflate_last_consumed(stream) === input.length;
    zlib.deflate_end(stream);
    if (!whole) throw new Error(`zlib stopped with ${result >>> 24}`);
    const made = result & 0xffffff;
    output.set(new Uint8Array(zlib.memory.buffer, to, made));
    return made;
  };
}

/**
 * zlib 1.3.1 as WebAssembly: the same bytes on every machine and every version of Node, which node's own zlib does not promise.
 * @throws LadingError `internal` where the package is not there, as after bundling
 */
export function compileZlib(): CompiledZlib {
  try {
    return new WebAssembly.Module(
      readFileSync(createRequire(import.meta.url).resolve("zlib-streams/zlib-streams.wasm")),
    );
  } catch (error) {
    throw new LadingError("internal", "the compressor (the package zlib-streams) can't be loaded", {
      cause: error,
      hint: "a bundler has to leave zlib-streams out, and node_modules has to have it",
    });
  }
}
