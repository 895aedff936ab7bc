/** A file of a root file system, as a layer will have it. */
export type RootEntry = RootFile | RootFolder | RootLink;

interface RootEntryBase {
  /** Relative, without `./`; a folder's ends in a slash. Bytes, since a file name is. */
  readonly name: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface RootFile extends RootEntryBase {
  readonly type: "file";
  /** Bytes. */
  readonly size: number;
  /** Where its content starts in a spool; 0 where it is a file of its own. */
  readonly offset: number;
}

export interface RootFolder extends RootEntryBase {
  readonly type: "directory";
}

export interface RootLink extends RootEntryBase {
  readonly type: "symlink" | "hardlink";
  readonly linkName: Buffer;
}

/** The files that were found, and how to read them one after the other. */
export interface RootFiles {
  readonly entries: readonly RootEntry[];
  read(file: RootFile): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface ReadRootOptions {
  readonly warn: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** The links to one file: the first name in byte order is the file, the others are links to it, wherever the source had it. */
export function linkGroup(names: readonly Buffer[]): { readonly file: Buffer; readonly links: readonly Buffer[] } {
  const [file, ...links] = [...names].sort(Buffer.compare);
  return { file: file as Buffer, links };
}

/** A name with which engines mean that a file of a lower layer is deleted, or a file in such a folder: no layer can hold it. */
export function isWhiteout(name: Buffer): boolean {
  return /(^|\/)\.wh\./.test(name.toString("latin1"));
}
