#!/usr/bin/env node
// Starts the bundled command line, and keeps its compiled code for the next run: to compile takes longer than to run. Node does that
// by itself from 22.1 on (`module.enableCompileCache`), but Node 20 does not, and Node's own folder is a shared one.
//
// This file is the only one of the command line that is not bundled with the others: it is what loads them.
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { Script } from "node:vm";

/** Where the code of one file is in the pack: from the end of the index. */
type Place = readonly [start: number, length: number];

interface Pack {
  readonly places: Readonly<Record<string, Place>>;
  readonly code: Buffer;
}

/** The digest of the files beside this one. The build puts it here. */
declare const build: string;

/** In days. A pack of another build that is older goes when one is written. */
const staleAfter = 30;

const folder = cacheFolder();
/** V8 refuses code of another version or of other flags by itself; the name keeps two of them from taking turns. */
const file = folder === null ? "" : join(folder, `${build}-${process.version}-${process.arch}.bin`);
const pack = folder === null ? null : readPack(file);
const fresh = new Map<string, Script>();
const loaded = new Map<string, { exports: unknown }>();

function load(name: string): unknown {
  const known = loaded.get(name);
  if (known !== undefined) return known.exports;
  const filename = join(__dirname, name);
  const source = `(function(exports,require,module,__filename,__dirname){${readFileSync(filename, "utf8")}\n})`;
  const [start, length] = pack?.places[name] ?? [0, 0];
  const cachedData = length === 0 ? undefined : pack?.code.subarray(start, start + length);
  const script = new Script(source, { filename, cachedData });
  if (cachedData === undefined || script.cachedDataRejected === true) fresh.set(name, script);
  const module: { exports: unknown } = { exports: {} };
  loaded.set(name, module);
  const required = (id: string) => (id.startsWith("./") ? load(id.slice(2)) : require(id));
  script.runInThisContext()(module.exports, required, module, filename, __dirname);
  return module.exports;
}

/** `$XDG_CACHE_HOME/lading/code`; null where nothing is to be kept. @see https://specifications.freedesktop.org/basedir-spec/0.8/ */
function cacheFolder(): string | null {
  const { NODE_DISABLE_COMPILE_CACHE: disabled = "", XDG_CACHE_HOME: cache = "", HOME: home } = process.env;
  if (disabled !== "" || process.getuid === undefined) return null;
  try {
    return join(isAbsolute(cache) ? cache : join(home ?? homedir(), ".cache"), "lading", "code");
  } catch {
    // A user without a home.
    return null;
  }
}

/** Null where there is none, or where another user could have written it: what is in it is run. */
function readPack(path: string): Pack | null {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch {
    return null;
  }
  try {
    const { uid, mode } = fstatSync(descriptor);
    if (uid !== process.getuid?.() || (mode & 0o022) !== 0) return null;
    const bytes = readFileSync(descriptor);
    const end = 4 + bytes.readUInt32LE(0);
    const code = bytes.subarray(end);
    const { size, places } = JSON.parse(bytes.toString("latin1", 4, end)) as { size: number; places: Pack["places"] };
    return size === code.length ? { places, code } : null;
  } catch {
    return null;
  } finally {
    closeSync(descriptor);
  }
}

/** Adds what this run had to compile. Whoever comes second replaces the first one's file; either is whole. */
function keep(): void {
  if (folder === null || fresh.size === 0) return;
  try {
    const places: Record<string, Place> = {};
    const parts: Buffer[] = [];
    let size = 0;
    const add = (name: string, code: Buffer) => {
      places[name] = [size, code.length];
      parts.push(code);
      size += code.length;
    };
    for (const [name, [start, length]] of Object.entries(pack?.places ?? {})) {
      if (!fresh.has(name) && pack !== null) add(name, pack.code.subarray(start, start + length));
    }
    for (const [name, script] of fresh) add(name, script.createCachedData());
    const index = Buffer.from(JSON.stringify({ size, places }), "latin1");
    const head = Buffer.alloc(4);
    head.writeUInt32LE(index.length);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    replaceFile(file, [head, index, ...parts]);
    if (pack === null) removeStale(folder);
  } catch {
    // The next run compiles again.
  }
}

/** Leaves nothing where it fails: on a full disk each run would leave something. */
function replaceFile(path: string, parts: readonly Buffer[]): void {
  const temporary = `${path}.${process.pid}`;
  const descriptor = openSync(temporary, "wx", 0o600);
  try {
    try {
      for (const part of parts) writeSync(descriptor, part);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function removeStale(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (Date.now() - statSync(path).mtimeMs > staleAfter * 86_400_000) rmSync(path);
  }
}

process.on("exit", keep);
load("main.js");
