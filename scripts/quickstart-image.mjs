// A real image made of files of this machine: the Node executable, the libraries it needs, npm, and a script that they run.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { readdir, realpath, rm, stat } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import tar from "tar-stream";

const epoch = new Date(0);
const architectures = { x64: "amd64", arm64: "arm64", arm: "arm", ia32: "386", ppc64: "ppc64le", s390x: "s390x" };

/** The paths of the shared libraries that `executable` loads, none where there is no ldd. */
function librariesOf(executable) {
  try {
    const output = execFileSync("ldd", [executable], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return [...output.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path);
  } catch {
    return [];
  }
}

/** The files below a folder, as paths from it. */
async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}

/** Each layer's files: where they are in the image, and what they are made of. */
async function nodeLayers() {
  const node = await realpath(process.execPath);
  const libraries = librariesOf(node);
  const npm = join(dirname(dirname(node)), "lib", "node_modules", "npm");
  const hello = "console.log('hello out of an image that Lading carried, from Node', process.version);\n";
  const file = (path, source) => ({
    path: path
      .replace(/^\/+/, "")
      .replace(/^[A-Za-z]:/, "")
      .replaceAll("\\", "/"),
    source,
  });
  return [
    libraries.map((path) => file(path, path)),
    [file("usr/local/bin/node", node)],
    (await filesBelow(npm)).map((path) => file(`usr/local/lib/node_modules/npm/${path}`, join(npm, path))),
    [file("hello.mjs", Buffer.from(hello))],
  ].filter((files) => files.length > 0);
}

/** Adds one entry and waits until its bytes are taken. */
function add(pack, header, source) {
  return new Promise((resolve, reject) => {
    const entry = pack.entry(header, (error) => (error ? reject(error) : resolve()));
    if (Buffer.isBuffer(source)) entry.end(source);
    else createReadStream(source).on("error", reject).pipe(entry);
  });
}

async function writeLayer(path, files) {
  const pack = tar.pack();
  const hash = createHash("sha256");
  let size = 0;
  const written = pipeline(
    pack,
    async function* (chunks) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(path),
  );
  const common = { mtime: epoch, uid: 0, gid: 0 };
  const folders = new Set();
  for (const { path: name, source } of files) {
    const parts = name.split("/").slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const folder = `${parts.slice(0, depth).join("/")}/`;
      if (folders.has(folder)) continue;
      folders.add(folder);
      await add(pack, { ...common, name: folder, type: "directory", mode: 0o755 }, Buffer.alloc(0));
    }
    const bytes = Buffer.isBuffer(source) ? source.length : (await stat(source)).size;
    await add(pack, { ...common, name, type: "file", mode: 0o755, size: bytes }, source);
  }
  pack.finalize();
  await written;
  return { diffId: `sha256:${hash.digest("hex")}`, size };
}

/** Writes a docker-archive of an image of this machine's Node; as {@link writeImage}. */
export async function writeNodeImage(path, local) {
  return await writeImage(path, local, await nodeLayers());
}

/**
 * Writes a docker-archive to `path`, with an image under the name `local`. Each layer is a list of files
 * `{ path, source }`, the source a path or a Buffer.
 * Resolves with the digests of its layers, lowest first, and their bytes together.
 */
export async function writeImage(path, local, contents) {
  const pack = tar.pack();
  const written = pipeline(pack, createWriteStream(path));
  const layers = [];
  let size = 0;
  for (const [index, files] of contents.entries()) {
    const layer = `${path}.layer`;
    const { diffId, size: bytes } = await writeLayer(layer, files);
    await add(pack, { name: `${index}/layer.tar`, size: bytes, mtime: epoch }, layer);
    await rm(layer);
    layers.push(diffId);
    size += bytes;
  }
  const config = Buffer.from(
    JSON.stringify({
      architecture: architectures[process.arch] ?? process.arch,
      os: "linux",
      created: epoch.toISOString(),
      config: { Cmd: ["/usr/local/bin/node", "/hello.mjs"], Env: ["PATH=/usr/local/bin:/usr/bin:/bin"] },
      rootfs: { type: "layers", diff_ids: layers },
      history: layers.map(() => ({ created: epoch.toISOString(), created_by: "lading quickstart" })),
    }),
  );
  const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
  const manifest = Buffer.from(
    JSON.stringify([{ Config: configName, RepoTags: [local], Layers: layers.map((_, index) => `${index}/layer.tar`) }]),
  );
  await add(pack, { name: configName, size: config.length, mtime: epoch }, config);
  await add(pack, { name: "manifest.json", size: manifest.length, mtime: epoch }, manifest);
  pack.finalize();
  await written;
  return { layers, size };
}

/** The digests of the layers in a docker-archive, lowest first, each hashed as it lies there unpacked. */
export async function readArchiveLayers(path) {
  const digests = new Map();
  const links = new Map();
  let manifest = null;
  const extract = tar.extract();
  const reading = pipeline(createReadStream(path), extract);
  for await (const entry of extract) {
    const { type, linkname } = entry.header;
    const name = posix.normalize(entry.header.name);
    if (type === "symlink" || type === "link") links.set(name, posix.join(posix.dirname(name), linkname ?? ""));
    if (name === "manifest.json") {
      const chunks = [];
      for await (const chunk of entry) chunks.push(chunk);
      manifest = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    } else if (type === "file") digests.set(name, await diffIdOf(entry));
    else entry.resume();
  }
  await reading;
  if (manifest === null) throw new Error(`${path} has no manifest.json`);
  return manifest[0].Layers.map((layer) => digests.get(layer) ?? digests.get(links.get(layer) ?? "") ?? null);
}

/** The digest of a layer, unpacked where it is gzip. */
async function diffIdOf(entry) {
  const hash = createHash("sha256");
  const chunks = entry[Symbol.asyncIterator]();
  const { value: first = Buffer.alloc(0) } = await chunks.next();
  async function* whole() {
    yield first;
    yield* { [Symbol.asyncIterator]: () => chunks };
  }
  const zipped = first[0] === 0x1f && first[1] === 0x8b;
  await pipeline(whole, ...(zipped ? [createGunzip()] : []), async (bytes) => {
    for await (const chunk of bytes) hash.update(chunk);
  });
  return `sha256:${hash.digest("hex")}`;
}
