import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { engineIdOf, indexIdOf, type Manifest } from "./manifest.js";
import type { Place, TagState } from "./place.js";

export interface RegistryViewOptions {
  readonly name: string;
  /** Past the fronts: no fault strikes here. */
  readonly url: () => string;
  readonly authorization?: string | null;
}

/** How long an answer may take, in ms. */
const patience = 60_000;

const manifestTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");

/** What a registry has, seen with nothing of Lading between: plain requests, and a hash of our own. */
export class RegistryView implements Place {
  readonly name: string;
  readonly #options: RegistryViewOptions;

  constructor(options: RegistryViewOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async read(image: string): Promise<ReadonlyMap<string, TagState>> {
    const states = new Map<string, TagState>();
    for (const tag of await this.tags(image)) {
      const state = await this.#state(image, tag);
      if (state !== null) states.set(tag, state);
    }
    return states;
  }

  async tags(image: string): Promise<readonly string[]> {
    const answer = await this.#ask(`/v2/${image}/tags/list?n=1000`);
    if (answer.status === 404) return [];
    if (answer.status !== 200) throw new Error(`${this.name}: tags of ${image}: ${answer.status}`);
    return (JSON.parse(answer.bytes.toString()) as { tags: string[] | null }).tags ?? [];
  }

  async catalog(): Promise<readonly string[]> {
    const answer = await this.#ask("/v2/_catalog?n=1000");
    return (JSON.parse(answer.bytes.toString()) as { repositories: string[] }).repositories;
  }

  async #state(image: string, tag: string): Promise<TagState | null> {
    const answer = await this.#ask(`/v2/${image}/manifests/${tag}`);
    if (answer.status === 404) return null;
    const { bytes } = answer;
    const digest = sha256(bytes);
    const said = answer.headers.get("docker-content-digest");
    if (answer.status !== 200 || said !== digest)
      return broken(digest, `${answer.status}, says ${said}, has ${digest}`);
    const manifest = JSON.parse(bytes.toString()) as Manifest;
    if (manifest.manifests !== undefined) {
      const states: (TagState & { readonly platform: string })[] = [];
      for (const child of manifest.manifests) {
        const state = await this.#state(image, child.digest);
        if (state === null) return broken(digest, `${child.digest} is missing`);
        if (state.broken !== null) return broken(digest, state.broken);
        states.push({ ...state, platform: `${child.platform?.os}/${child.platform?.architecture}` });
      }
      const children = states.map((state) => state.digest);
      return { id: indexIdOf(states), engineId: engineIdOf(states), digest, children, broken: null };
    }
    for (const child of [manifest.config, ...manifest.layers]) {
      const head = await this.#ask(`/v2/${image}/blobs/${child.digest}`, "HEAD");
      if (head.status !== 200) return broken(digest, `${child.digest}: ${head.status}`);
      if (Number(head.headers.get("content-length")) !== child.size)
        return broken(digest, `${child.digest} is ${head.headers.get("content-length")} bytes, not ${child.size}`);
    }
    const { digest: id } = manifest.config;
    return { id, engineId: id, digest, children: [], broken: null };
  }

  /** Digests of configs and layers. */
  async blobs(image: string, reference: string): Promise<readonly string[]> {
    const answer = await this.#ask(`/v2/${image}/manifests/${reference}`);
    const manifest = JSON.parse(answer.bytes.toString()) as Manifest;
    if (manifest.manifests === undefined) return [manifest.config, ...manifest.layers].map(({ digest }) => digest);
    const blobs = await Promise.all(manifest.manifests.map(({ digest }) => this.blobs(image, digest)));
    return blobs.flat();
  }

  /** A blob's hash, byte by byte from the registry. */
  async hash(image: string, digest: string): Promise<string> {
    const answer = await this.#fetch(`/v2/${image}/blobs/${digest}`, "GET");
    const hash = createHash("sha256");
    if (answer.body !== null) for await (const chunk of answer.body as AsyncIterable<Uint8Array>) hash.update(chunk);
    return `sha256:${hash.digest("hex")}`;
  }

  /** Patient, but not without end: the registry may be restarting. A body that its end cuts is asked for again. */
  async #ask(path: string, method = "GET"): Promise<Answer> {
    const deadline = Date.now() + patience;
    for (;;) {
      try {
        const answer = await this.#fetch(path, method);
        return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`${this.name} does not answer ${method} ${path}`, { cause: error });
        await sleep(200);
      }
    }
  }

  #fetch(path: string, method: string): Promise<Response> {
    const { authorization = null, url } = this.#options;
    return fetch(`${url()}${path}`, {
      method,
      headers: { accept: manifestTypes, ...(authorization === null ? {} : { authorization }) },
      redirect: "error",
      // Its body included.
      signal: AbortSignal.timeout(patience),
    });
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
}

function broken(digest: string, text: string): TagState {
  return { id: "broken", engineId: "broken", digest, children: [], broken: text };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
