import { gzipSync } from "node:zlib";

/**
 * Takes a tar apart as Docker and Podman do when they load a layer: what is no file's content goes into the record.
 */
export function splitTar(tar: Buffer): { readonly record: Buffer; readonly files: ReadonlyMap<string, Buffer> } {
  const lines: string[] = [];
  const files = new Map<string, Buffer>();
  const add = (entry: object) => lines.push(JSON.stringify({ ...entry, position: lines.length }));
  let segment = 0;
  for (let at = 0; at + 512 <= tar.length; ) {
    const header = tar.subarray(at, at + 512);
    const text = (from: number, to: number) => header.toString("utf8", from, to).replace(/\0.*$/s, "");
    const size = Number.parseInt(text(124, 136).trim() || "0", 8);
    at += 512;
    if (header[156] === 0x30 && size > 0) {
      const name = text(0, 100);
      add({ type: 2, payload: tar.subarray(segment, at).toString("base64") });
      add({ type: 1, name, size, payload: "AAAAAAAAAAA=" });
      files.set(name, Buffer.from(tar.subarray(at, at + size)));
      segment = at + size;
    } else if (header[156] === 0x30) {
      add({ type: 2, payload: tar.subarray(segment, at).toString("base64") });
      add({ type: 1, name: text(0, 100), payload: "AAAAAAAAAAA=" });
      segment = at;
    }
    at += Math.ceil(size / 512) * 512;
  }
  add({ type: 2, payload: tar.subarray(segment).toString("base64") });
  return { record: gzipSync(`${lines.join("\n")}\n`), files };
}
