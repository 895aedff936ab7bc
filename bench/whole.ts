import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import type { BenchRegistry } from "./registry.js";

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** Reads content by digest, or a manifest by tag. */
type Read = (kind: "manifests" | "blobs", reference: string) => Promise<AsyncIterable<Buffer>>;

const manifestTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/** What of an image has to have arrived. */
export interface Arrival {
  /** Of the manifest; null where the tool writes one of its own. */
  readonly digest: string | null;
  /** How many layers it has. */
  readonly layers: number;
}

/** Reads an image in a registry to the last byte. @throws Error where something is missing or is not what its digest says */
export async function wholeInRegistry(registry: BenchRegistry, path: string, tag: string, arrival: Arrival) {
  const ca = registry.ca === null ? undefined : await readFile(registry.ca);
  const read: Read = (kind, reference) => {
    const options = { headers: { accept: manifestTypes }, agent: false as const };
    const url = `//${registry.host}/v2/${path}/${kind}/${reference}`;
    return new Promise((resolve, reject) => {
      const answered = (response: AsyncIterable<Buffer> & { readonly statusCode?: number | undefined }) =>
        response.statusCode === 200 ? resolve(response) : reject(new Error(`${url}: ${response.statusCode}`));
      const request =
        ca === undefined
          ? requestHttp(`http:${url}`, options, answered)
          : requestHttps(`https:${url}`, { ...options, ca }, answered);
      request.once("error", reject);
      request.end();
    });
  };
  await whole(read, tag, arrival);
}

/** The same for an image in an OCI layout; the root is what its index names, or the one of the tag. */
export async function wholeInLayout(folder: string, arrival: Arrival) {
  const index = JSON.parse(await readFile(join(folder, "index.json"), "utf8")) as { manifests: Descriptor[] };
  const roots = index.manifests.filter(({ digest }) => arrival.digest === null || digest === arrival.digest);
  if (roots[0] === undefined) throw new Error(`${folder} does not name ${arrival.digest ?? "anything"}`);
  const read: Read = async (_kind, digest) => createReadStream(join(folder, "blobs", ...digest.split(":")));
  await whole(read, roots[0].digest, arrival);
}

async function whole(read: Read, reference: string, arrival: Arrival): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of await read("manifests", reference)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  if (arrival.digest !== null && digest !== arrival.digest) throw new Error(`${digest} arrived, not ${arrival.digest}`);
  const { config, layers } = JSON.parse(bytes.toString("utf8")) as Manifest;
  if (layers.length !== arrival.layers) throw new Error(`${layers.length} layers arrived, not ${arrival.layers}`);
  for (const descriptor of [config, ...layers]) {
    const hash = createHash("sha256");
    let size = 0;
    for await (const chunk of await read("blobs", descriptor.digest)) {
      hash.update(chunk);
      size += chunk.length;
    }
    const found = `sha256:${hash.digest("hex")}`;
    if (found !== descriptor.digest || size !== descriptor.size) {
      throw new Error(`${descriptor.digest} of ${descriptor.size} bytes arrived as ${found} of ${size}`);
    }
  }
}
