import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Credential } from "../oci/credential.js";
import { type Digest, isDigest } from "../oci/digest.js";
import { formatPlatform, type Platform } from "../oci/platform.js";
import type {
  EngineExchange,
  EngineImage,
  ExchangeOptions,
  ExchangeReport,
  LocalEngine,
  RegistryTarget,
} from "./engine.js";
import { type EngineApi, versionAtLeast } from "./engine-api.js";
import { type InspectedImage, readInspected } from "./engine-image.js";
import { referencePath } from "./engine-reference.js";
import { ExchangeProgress } from "./exchange-progress.js";
import { isJsonObject, type JsonObject, jsonLines } from "./json-lines.js";
import { presentPlatform } from "./present-platform.js";

/** How long taking a name back may take, in ms: also of a transfer that was cancelled. */
const patience = 5_000;

export interface DockerExchangeOptions {
  /** The engine's loopback is this machine's. */
  readonly onThisHost: boolean;
  /** What the engine said of an image when it was asked for it; null where that is not known any more. */
  readonly inspected: (image: EngineImage) => InspectedImage | null;
}

/** What an engine said of a transfer. */
type Followed = Pick<ExchangeReport, "digest" | "outcomes">;

/** Docker with the containerd image store pushes and pulls: it keeps the compressed blobs, and exports them slowly. */
export class DockerExchange implements EngineExchange {
  readonly #api: EngineApi;
  readonly #engine: LocalEngine;
  readonly #options: DockerExchangeOptions;

  constructor(api: EngineApi, engine: LocalEngine, options: DockerExchangeOptions) {
    this.#api = api;
    this.#engine = engine;
    this.#options = options;
  }

  async push(image: EngineImage, tag: string, options: ExchangeOptions): Promise<ExchangeReport | null> {
    const { target, signal } = options;
    if (!this.#reaches(target)) return null;
    const name = nameOf(target);
    const reference = `${name}:${tag}`;
    const [inspected, before] = await Promise.all([
      this.#options.inspected(image) ?? this.#inspect(image.id, signal),
      this.#inspect(reference, signal),
    ]);
    // Without a name of its own the image would go with the one that it gets for the push.
    if (inspected === null || inspected.names.length === 0) return null;
    const { platform: own } = await this.#engine.info(signal);
    const platform = presentPlatform(inspected, options.platform, own);
    const { apiVersion } = await this.#api.ping(signal);
    if (platform !== null && !versionAtLeast(apiVersion, "1.46")) return null;
    if (before !== null && before.id !== image.id) return null;
    if (before === null) await this.#tag(image.id, name, tag, signal);
    const push = async (): Promise<Followed | null> => {
      const pushed = await this.#follow(options, {
        path: `/images/${referencePath(name)}/push`,
        query: { tag, platform: platform === null ? undefined : JSON.stringify(platform) },
        doing: `pushing ${reference}`,
      });
      return pushed?.digest === digestFor(inspected, platform) ? pushed : null;
    };
    return await this.#withName(before === null ? reference : null, push);
  }

  async pull(digest: Digest, local: LocalImage, options: ExchangeOptions): Promise<ExchangeReport | null> {
    const { target, platform, signal } = options;
    if (!this.#reaches(target)) return null;
    const name = nameOf(target);
    const reference = `${name}@${digest}`;
    // By digest: no tag of the registry's name comes into being here, and nothing else can come than what was chosen.
    const before = await this.#inspect(reference, signal);
    const pull = async (): Promise<Followed | null> => {
      const pulled = await this.#follow(options, {
        path: "/images/create",
        query: {
          fromImage: name,
          tag: digest,
          platform: platform === null ? undefined : formatPlatform(platform),
        },
        doing: `pulling ${reference}`,
      });
      if (pulled?.digest !== digest) return null;
      await this.#engine.tag(digest, local, signal);
      return pulled;
    };
    return await this.#withName(before === null ? reference : null, pull);
  }

  /**
   * Takes a name back that is there for the transfer alone, whatever comes of it. After a transfer that went well the caller looks
   * at the other end meanwhile: to take a name back is a write to the engine's disk.
   * @param reference Null where the name was there before.
   */
  async #withName(reference: string | null, transfer: () => Promise<Followed | null>): Promise<ExchangeReport | null> {
    const untag = async () => (reference === null ? undefined : await this.#untag(reference));
    let done: Followed | null = null;
    try {
      done = await transfer();
    } finally {
      if (done === null) await untag();
    }
    return done === null ? null : { ...done, settled: untag() };
  }

  #reaches({ loopback }: RegistryTarget): boolean {
    return !loopback || this.#options.onThisHost;
  }

  /** Reads a transfer's progress to its end. @returns Null where the engine does not say what it moved. */
  async #follow(
    { target, progress, signal }: ExchangeOptions,
    call: { readonly path: string; readonly query: Record<string, string | undefined>; readonly doing: string },
  ): Promise<Followed | null> {
    const answer = await this.#api.stream({
      method: "POST",
      ...call,
      registryAuth: registryAuth(target),
      signal,
    });
    const followed = new ExchangeProgress(progress);
    let digest: Digest | null = null;
    for await (const line of jsonLines(answer, { doing: call.doing })) {
      followed.take(line);
      digest = digestIn(line) ?? digest;
    }
    return digest === null ? null : { digest, outcomes: followed.outcomes };
  }

  async #inspect(reference: string, signal: AbortSignal): Promise<InspectedImage | null> {
    try {
      const path = `/images/${referencePath(reference)}/json`;
      return readInspected(
        await this.#api.json({ path, query: { manifests: 1 }, doing: `inspecting ${reference}`, signal }),
      );
    } catch (error) {
      if (error instanceof LadingError && error.code === "not-found") return null;
      throw error;
    }
  }

  async #tag(id: Digest, repo: string, tag: string, signal: AbortSignal): Promise<void> {
    const path = `/images/${referencePath(id)}/tag`;
    await this.#api.json({ method: "POST", path, query: { repo, tag }, doing: `tagging ${id}`, signal });
  }

  /** Takes back a name that was only made for the transfer, on every way out. */
  async #untag(reference: string): Promise<void> {
    await this.#api
      .json({
        method: "DELETE",
        path: `/images/${referencePath(reference)}`,
        query: { noprune: 1 },
        doing: `taking back ${reference}`,
        signal: AbortSignal.timeout(patience),
      })
      // It was not made, or the engine is gone: nothing else is lost.
      .catch(() => {});
  }
}

/** What a push of an image, or of one platform of it, has to give. */
function digestFor({ target, manifests }: InspectedImage, platform: Platform | null): Digest | null {
  if (platform === null) return target;
  const wanted = formatPlatform(platform);
  const chosen = manifests.filter(
    ({ kind, available, platform: its }) =>
      kind === "image" && available && its !== null && formatPlatform(its) === wanted,
  );
  return chosen.length === 1 ? (chosen[0]?.digest ?? null) : null;
}

function nameOf({ host, path }: RegistryTarget): string {
  return `${host}/${path}`;
}

/** `X-Registry-Auth`: base64url of a JSON document. @see https://docs.docker.com/reference/api/engine/version/v1.51/#section/Authentication */
export function registryAuth({ host, credential }: Pick<RegistryTarget, "host" | "credential">): string {
  const text = Buffer.from(JSON.stringify(authDocument(host, credential))).toString("base64");
  // With its padding: without it Docker reads nothing, and says nothing of it.
  return text.replaceAll("+", "-").replaceAll("/", "_");
}

function authDocument(serveraddress: string, credential: Credential | null): JsonObject {
  if (credential === null) return {};
  if ("registryToken" in credential) return { serveraddress, registrytoken: credential.registryToken };
  if ("identityToken" in credential) return { serveraddress, identitytoken: credential.identityToken };
  return { serveraddress, username: credential.username, password: credential.password };
}

/** The last words of a push and of a pull. */
function digestIn({ aux, status }: JsonObject): Digest | null {
  if (isJsonObject(aux) && isDigest(aux.Digest)) return aux.Digest;
  const match = typeof status === "string" ? /(?:^| )[Dd]igest: (sha256:[a-f0-9]{64})(?: |$)/.exec(status) : null;
  return isDigest(match?.[1]) ? match[1] : null;
}
