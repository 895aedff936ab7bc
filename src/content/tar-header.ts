import { LadingError } from "../errors.js";
import { limits } from "../oci/limits.js";

export const tarBlock = 512;

export type TarEntryType = "file" | "directory" | "symlink" | "hardlink" | "character-device" | "block-device" | "fifo";

/** What an archive says of an entry. Names are bytes in a tar; the text form is for names that are known to be text. */
export interface TarHeader {
  readonly name: string;
  readonly rawName: Uint8Array;
  readonly type: TarEntryType;
  /** Bytes of the body: 0 for everything but a file. */
  readonly size: number;
  /** Permission bits, with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970, without fractions. */
  readonly mtime: number;
  /** Target of a link; empty else. */
  readonly linkName: string;
  readonly rawLinkName: Uint8Array;
}

/** The type flags that describe the next entry instead of being one. */
export type TarExtension = "pax" | "global" | "long-name" | "long-link";

export interface TarBlock extends TarHeader {
  readonly extension: TarExtension | null;
}

/** Fields of a PAX or GNU extension that override those of the entry after it. */
export interface TarOverrides {
  path?: Uint8Array;
  linkPath?: Uint8Array;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
}

/** A name in an archive as it may stand in a message: names can be as long as a page. */
export function shownName(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
}

export function invalidArchive(message: string, cause?: unknown): LadingError {
  return new LadingError("archive-invalid", message, cause === undefined ? {} : { cause });
}

const extensions: Readonly<Record<string, TarExtension>> = { x: "pax", g: "global", L: "long-name", K: "long-link" };
const types: Readonly<Record<string, TarEntryType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
};

/** Up to the first NUL. */
function text(block: Buffer, start: number, length: number): Buffer {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

/** Octal digits, or GNU's base 256 where the first bit is set. */
function number(block: Buffer, start: number, length: number, what: string): number {
  const field = block.subarray(start, start + length);
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    if (first === 0xff) return 0; // A negative number: times before 1970, which nothing here needs.
    let value = first & 0x7f;
    for (const byte of field.subarray(1)) {
      value = value * 256 + byte;
      if (value > Number.MAX_SAFE_INTEGER) throw invalidArchive(`the ${what} in a tar header is too large`);
    }
    return value;
  }
  const digits = field.toString("latin1").replace(/\0.*$/s, "").trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw invalidArchive(`the ${what} in a tar header is no number`);
  return Number.parseInt(digits, 8);
}

function checkSum(block: Buffer): void {
  const expected = number(block, 148, 8, "checksum");
  let unsigned = 8 * 0x20;
  let signed = 8 * 0x20;
  for (let at = 0; at < tarBlock; at++) {
    if (at >= 148 && at < 156) continue;
    const byte = block[at] ?? 0;
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  // Some old programs summed signed bytes.
  if (expected !== unsigned && expected !== signed) throw invalidArchive("a tar header's checksum is wrong");
}

/**
 * One header block: ustar, GNU or the form before both.
 * @throws LadingError `archive-invalid`
 */
export function parseTarBlock(block: Buffer): TarBlock {
  checkSum(block);
  const flag = String.fromCharCode(block[156] ?? 0);
  const magic = block.toString("latin1", 257, 263);
  let rawName = text(block, 0, 100);
  // GNU uses the prefix's place for other fields.
  const prefix = magic === "ustar\0" ? text(block, 345, 155) : Buffer.alloc(0);
  if (prefix.length > 0) rawName = Buffer.concat([prefix, Buffer.from("/"), rawName]);
  const extension = extensions[flag] ?? null;
  let type = extension === null ? types[flag] : "file";
  if (type === undefined) {
    const known = flag === "S" ? "a sparse file" : `an entry of type ${JSON.stringify(flag)}`;
    throw invalidArchive(`the archive has ${known}, which is not supported`);
  }
  // Before ustar a directory was a file whose name ends in a slash.
  if (flag === "\0" && rawName.at(-1) === 0x2f) type = "directory";
  const rawLinkName = text(block, 157, 100);
  return {
    extension,
    type,
    ...names(rawName, rawLinkName),
    size: number(block, 124, 12, "size"),
    mode: number(block, 100, 8, "mode") & 0o7777,
    uid: number(block, 108, 8, "uid"),
    gid: number(block, 116, 8, "gid"),
    mtime: number(block, 136, 12, "mtime"),
  };
}

function names(rawName: Buffer, rawLinkName: Buffer): Pick<TarHeader, "name" | "rawName" | "linkName" | "rawLinkName"> {
  return { name: rawName.toString(), rawName, linkName: rawLinkName.toString(), rawLinkName };
}

/** The entry with what the extensions before it said. */
export function applyOverrides(block: TarBlock, overrides: TarOverrides): TarHeader {
  const { extension: _, ...header } = block;
  const rawName = Buffer.from(overrides.path ?? block.rawName);
  const rawLinkName = Buffer.from(overrides.linkPath ?? block.rawLinkName);
  for (const name of [rawName, rawLinkName]) {
    const limit = "archiveName";
    if (name.length > limits[limit])
      throw new LadingError("limit-exceeded", `a name in the archive is longer than ${limits[limit]} bytes`, { limit });
    if (name.includes(0)) throw invalidArchive("a name in the archive has a NUL byte");
  }
  if (rawName.length === 0) throw invalidArchive("an entry of the archive has no name");
  const { uid = block.uid, gid = block.gid, mtime = block.mtime, size = block.size } = overrides;
  // Links, folders and devices have no body, whatever their header says: so do Go and GNU tar.
  return { ...header, ...names(rawName, rawLinkName), uid, gid, mtime, size: block.type === "file" ? size : 0 };
}

/**
 * The records of a PAX header.
 * @see https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03
 * @throws LadingError `archive-invalid`
 */
export function parsePax(body: Buffer): TarOverrides {
  const overrides: TarOverrides = {};
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const length = space < 0 || space - at > 10 ? Number.NaN : Number(body.toString("latin1", at, space));
    const end = at + length;
    const record = Number.isSafeInteger(length) && end <= body.length ? body.subarray(space + 1, end) : null;
    const equals = record?.indexOf(0x3d) ?? -1;
    if (record === null || equals < 1 || record.at(-1) !== 0x0a) throw invalidArchive("a PAX header is malformed");
    set(overrides, record.toString("latin1", 0, equals), record.subarray(equals + 1, -1));
    at = end;
  }
  return overrides;
}

function set(overrides: TarOverrides, key: string, value: Buffer): void {
  if (key.startsWith("GNU.sparse.")) throw invalidArchive("the archive has a sparse file, which is not supported");
  // An empty value takes a global setting back, of which none is kept.
  if (value.length === 0) return;
  if (key === "path") overrides.path = value;
  else if (key === "linkpath") overrides.linkPath = value;
  else if (key === "size" || key === "uid" || key === "gid") overrides[key] = paxNumber(value, key);
  else if (key === "mtime") {
    // `1e999` is a number too, and no time.
    const seconds = Math.max(0, Math.floor(Number(value.toString("latin1"))));
    overrides.mtime = Number.isSafeInteger(seconds) ? seconds : 0;
  }
}

function paxNumber(value: Buffer, key: string): number {
  const digits = value.toString("latin1");
  const parsed = Number(digits);
  if (!/^[0-9]+$/.test(digits) || !Number.isSafeInteger(parsed)) throw invalidArchive(`the PAX ${key} is no number`);
  return parsed;
}

/** What a writer is given of an entry. */
export interface TarEntryInput {
  /** Text, or bytes where the name need not be UTF-8. A folder's ends in a slash. */
  readonly name: string | Uint8Array;
  /** @default file */
  readonly type?: "file" | "directory" | "symlink" | "hardlink";
  /** Bytes of the body. @default 0 */
  readonly size?: number;
  /** @default 0o644, for a folder 0o755, for a link 0o777 */
  readonly mode?: number;
  /** @default 0 */
  readonly uid?: number;
  /** @default 0 */
  readonly gid?: number;
  /** Seconds since 1970. @default 0 */
  readonly mtime?: number;
  readonly linkName?: string | Uint8Array;
}

const flags = { file: "0", hardlink: "1", symlink: "2", directory: "5" } as const;
const modes = { file: 0o644, hardlink: 0o644, symlink: 0o777, directory: 0o755 } as const;

/** The header of an entry: one ustar block, with a PAX header before it where something does not fit. The same input gives the same bytes. */
export function formatTarHeader(entry: TarEntryInput): Buffer {
  const { type = "file", size = 0, mode = modes[type], uid = 0, gid = 0, mtime = 0, linkName = "" } = entry;
  const name = Buffer.from(entry.name as Uint8Array);
  const link = Buffer.from(linkName as Uint8Array);
  const records: Buffer[] = [];
  if (name.length > 100) records.push(paxRecord("path", name));
  if (link.length > 100) records.push(paxRecord("linkpath", link));
  for (const [key, value, max] of [
    ["size", size, 0o77777777777],
    ["uid", uid, 0o7777777],
    ["gid", gid, 0o7777777],
    ["mtime", mtime, 0o77777777777],
  ] as const) {
    if (value > max) records.push(paxRecord(key, Buffer.from(String(value))));
  }
  const header = ustarBlock(flags[type], { name, link, size, mode, uid, gid, mtime });
  if (records.length === 0) return header;
  const pax = Buffer.concat(records);
  const own = {
    name: Buffer.from("././@PaxHeader"),
    link: Buffer.alloc(0),
    size: pax.length,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: 0,
  };
  return Buffer.concat([ustarBlock("x", own), pax, Buffer.alloc(padding(pax.length)), header]);
}

/** Bytes from the end of a body to the next block. */
export function padding(size: number): number {
  return (tarBlock - (size % tarBlock)) % tarBlock;
}

/** `"<length> <key>=<value>\n"`, where the length counts itself. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from("\n")]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

interface UstarFields {
  readonly name: Buffer;
  readonly link: Buffer;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: number;
}

function ustarBlock(flag: string, fields: UstarFields): Buffer {
  const block = Buffer.alloc(tarBlock);
  // A value that does not fit is in the PAX header; here it is zero, as Go writes it.
  const octal = (value: number, start: number, length: number) => {
    const digits = value.toString(8);
    block.write(`${(digits.length < length ? digits : "0").padStart(length - 1, "0")}\0`, start, "latin1");
  };
  fields.name.copy(block, 0, 0, 100);
  octal(fields.mode & 0o7777, 100, 8);
  octal(fields.uid, 108, 8);
  octal(fields.gid, 116, 8);
  octal(fields.size, 124, 12);
  octal(fields.mtime, 136, 12);
  block.write(flag, 156, "latin1");
  fields.link.copy(block, 157, 0, 100);
  block.write("ustar\x0000", 257, "latin1");
  octal(0, 329, 8);
  octal(0, 337, 8);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
