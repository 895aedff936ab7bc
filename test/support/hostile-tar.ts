import { createHash } from "node:crypto";

/** An entry as nobody but an attacker or a defect writes it: every field is taken as it is. */
export interface HostileEntry {
  readonly name: string;
  /** Type flag. @default "0", a file */
  readonly flag?: string;
  readonly link?: string;
  readonly body?: Uint8Array | string;
  /** What the header says, whatever the body has. @default the body's */
  readonly size?: number;
  /** @default 0o644 */
  readonly mode?: number;
  /** Records of a PAX header before it. */
  readonly pax?: Readonly<Record<string, string>>;
}

/** A tar of such entries. @param end Zero blocks at its end. @default 2 */
export function hostileTar(entries: readonly HostileEntry[], end = 2): Buffer {
  return Buffer.concat([...entries.flatMap(entryBlocks), Buffer.alloc(512 * end)]);
}

export const link = (name: string, target: string): HostileEntry => ({ name, flag: "2", link: target });
export const hardlink = (name: string, target: string): HostileEntry => ({ name, flag: "1", link: target });
export const folder = (name: string): HostileEntry => ({ name, flag: "5", mode: 0o755 });
export const file = (name: string, body = "broken out"): HostileEntry => ({ name, body });

/** What makes an archive of these layers one that docker would load. */
export function dockerArchiveEntries(layers: readonly Uint8Array[], names: readonly string[]): HostileEntry[] {
  const hex = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const diffIds = layers.map((layer) => `sha256:${hex(layer)}`);
  const config = JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds } });
  const configName = `${hex(Buffer.from(config))}.json`;
  const files = layers.map((body, index) => ({ name: `layer-${index}/layer.tar`, body }));
  const manifest = [{ Config: configName, RepoTags: names, Layers: files.map(({ name }) => name) }];
  return [...files, { name: configName, body: config }, { name: "manifest.json", body: JSON.stringify(manifest) }];
}

function entryBlocks(entry: HostileEntry): Buffer[] {
  const body = Buffer.from(entry.body ?? "");
  const blocks = [header(entry, body.length), body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  if (entry.pax === undefined) return blocks;
  const records = Buffer.concat(Object.entries(entry.pax).map(([key, value]) => paxRecord(key, value)));
  return [...entryBlocks({ name: "PaxHeader", flag: "x", body: records }), ...blocks];
}

function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  const size = Buffer.byteLength(rest);
  let length = size + 1;
  while (String(length).length + size !== length) length = String(length).length + size;
  return Buffer.from(`${length}${rest}`);
}

function header({ name, flag = "0", link: target = "", mode = 0o644, size }: HostileEntry, length: number): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, width: number) =>
    block.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
  block.write(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size ?? length, 124, 12);
  octal(0, 136, 12);
  block.write(flag, 156, "latin1");
  block.write(target, 157, 100);
  block.write("ustar\x0000", 257, "latin1");
  block.fill(0x20, 148, 156);
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
    "latin1",
  );
  return block;
}
