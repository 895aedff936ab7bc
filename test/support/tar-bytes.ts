export interface TarFile {
  /** Ends in `/` for a folder. */
  readonly name: string;
  readonly content: Uint8Array | null;
}

/** A tar of small files, made whole in memory: the same for the same files. */
export function tarOf(files: readonly TarFile[]): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const { name, content } of files) {
    const size = content?.byteLength ?? 0;
    blocks.push(tarHeader(name, size, content === null ? "5" : "0"));
    if (content !== null) blocks.push(content, Buffer.alloc((512 - (size % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** The header of a file (`0`) or folder (`5`). A size of more than 8 GiB would need base 256. */
export function tarHeader(name: string, size: number, type: "0" | "5"): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  header.write(name, 0, 100, "utf8");
  octal(type === "5" ? 0o755 : 0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(1_700_000_000, 136, 12);
  header.write("        ", 148, "latin1");
  header.write(type, 156, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}
