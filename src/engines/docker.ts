import { isLadingError, LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { formatPlatform } from "../oci/platform.js";
import { type AboutDocker, describeDocker } from "./docker-info.js";
import type {
  EngineExchange,
  EngineImage,
  EngineInfo,
  EngineReference,
  ExportOptions,
  ImportOptions,
  LocalEngine,
} from "./engine.js";
import { type EngineApi, versionAtLeast } from "./engine-api.js";
import { platformImage, requireLayers, wholeTree } from "./engine-content.js";
import { engineFailure } from "./engine-error.js";
import { type InspectedImage, readInspected, toEngineImage, toEngineImages } from "./engine-image.js";
import { canonicalName, referencePath, referenceText } from "./engine-reference.js";
import { rememberingRoot } from "./export-root.js";
import { isJsonObject, type JsonObject, jsonLines } from "./json-lines.js";
import { knownPrefix } from "./known-layers.js";
import { layerNames } from "./legacy-layer-id.js";
import { checkLoaded } from "./load-check.js";
import { loadProgress } from "./load-progress.js";
import { presentPlatform, wantedPlatform } from "./present-platform.js";

export interface DockerEngineOptions {
  /** Minutes, as `getTimezoneOffset` has it at the epoch; see `legacyLayerIds`. @default 0 */
  readonly timeZoneOffset?: number;
}

/** Images inspected at the same time for a list. */
const inspectsAtOnce = 8;

/** Docker Engine, with the graph driver or the containerd image store. */
export class DockerEngine implements LocalEngine {
  readonly kind = "docker";
  readonly #api: EngineApi;
  readonly #timeZoneOffset: number;
  #described: Promise<AboutDocker> | null = null;
  /** What the engine said of the images that were handed out: it takes 20 ms and more to say it again. */
  readonly #inspected = new WeakMap<EngineImage, InspectedImage>();

  constructor(api: EngineApi, options: DockerEngineOptions = {}) {
    this.#api = api;
    this.#timeZoneOffset = options.timeZoneOffset ?? 0;
  }

  async info(signal?: AbortSignal): Promise<EngineInfo> {
    return (await this.#about(signal)).info;
  }

  #about(signal?: AbortSignal): Promise<AboutDocker> {
    this.#described ??= this.#askInfo(signal).catch((error: unknown) => {
      this.#described = null;
      throw error;
    });
    return this.#described;
  }

  async #askInfo(signal?: AbortSignal): Promise<AboutDocker> {
    const { apiVersion } = await this.#api.ping(signal);
    const answer = await this.#api.json({ path: "/info", doing: "asking the engine what it is", signal });
    return await describeDocker(isJsonObject(answer) ? answer : {}, this.#api.endpoint, apiVersion);
  }

  async list(signal?: AbortSignal): Promise<readonly EngineImage[]> {
    return (await this.#listInspected(signal)).flatMap(toEngineImages);
  }

  /** A list does not tell platforms and layers, so each image is asked for; one that goes meanwhile is left out. */
  async #listInspected(signal?: AbortSignal): Promise<readonly InspectedImage[]> {
    const answer = await this.#api.json({ path: "/images/json", doing: "listing images", signal });
    const ids = (Array.isArray(answer) ? answer : []).flatMap((entry) => readInspected(entry)?.id ?? []);
    const images: (InspectedImage | null)[] = [];
    for (let at = 0; at < ids.length; at += inspectsAtOnce) {
      const group = ids.slice(at, at + inspectsAtOnce).map((id) => this.#inspect(id, signal));
      images.push(...(await Promise.all(group)).map((found) => found?.image ?? null));
    }
    return images.filter((image) => image !== null);
  }

  async inspect(reference: EngineReference, signal?: AbortSignal): Promise<EngineImage | null> {
    const found = await this.#inspect(reference, signal);
    if (found === null) return null;
    const image = toEngineImage(found.image, typeof reference === "string" ? null : reference);
    this.#inspected.set(image, found.image);
    return image;
  }

  async #inspect(
    reference: EngineReference,
    signal?: AbortSignal,
  ): Promise<{ readonly image: InspectedImage; readonly document: JsonObject } | null> {
    const { apiVersion } = await this.#api.ping(signal);
    let document: unknown;
    try {
      document = await this.#api.json({
        path: `/images/${referencePath(referenceText(reference))}/json`,
        query: { manifests: versionAtLeast(apiVersion, "1.48") ? "1" : undefined },
        doing: `inspecting ${referenceText(reference)}`,
        signal,
      });
    } catch (error) {
      if (error instanceof LadingError && error.code === "not-found") return null;
      throw error;
    }
    const image = readInspected(document);
    if (image === null || !isJsonObject(document)) {
      throw new LadingError("engine-failed", `the engine describes ${referenceText(reference)} in an unknown way`);
    }
    return { image, document };
  }

  async tag(reference: EngineReference, name: LocalImage, signal?: AbortSignal): Promise<void> {
    await this.#api.json({
      method: "POST",
      path: `/images/${referencePath(referenceText(reference))}/tag`,
      query: { repo: name.name, tag: name.tag ?? "latest" },
      doing: `tagging ${referenceText(reference)}`,
      signal,
    });
  }

  async remove(
    reference: EngineReference,
    options: { readonly force: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    await this.#api.json({
      method: "DELETE",
      path: `/images/${referencePath(referenceText(reference))}`,
      query: { force: options.force ? 1 : undefined },
      doing: `removing ${referenceText(reference)}`,
      signal: options.signal,
    });
  }

  async *exportImage(reference: EngineReference, options: ExportOptions): AsyncGenerator<Descriptor> {
    const { into, signal, progress } = options;
    const found = await this.#inspect(reference, signal);
    if (found === null) {
      throw new LadingError("not-found", `the engine has no image ${referenceText(reference)}`, {
        hint: "see the names it has with: lading images",
      });
    }
    const { image, document } = found;
    const { imageStore, platform: enginePlatform } = await this.info(signal);
    const original = imageStore === "containerd";
    const platform = original
      ? presentPlatform(image, options.platform, enginePlatform)
      : wantedPlatform(image, options.platform);
    const key = [
      image.id,
      original ? "original" : options.format,
      platform === null ? "all" : formatPlatform(platform),
    ] as const;

    const remembered = await into.manifestFor(...key);
    const whole = remembered === null ? null : await wholeTree(into, remembered, signal);
    if (whole !== null) {
      yield* whole;
      return;
    }

    const { overlayRoot } = await this.#about(signal);
    if (!original && overlayRoot !== null) {
      const { exportOverlay } = await import("./folder-export.js");
      if (yield* exportOverlay("docker", overlayRoot, image, options, key)) return;
    }
    // Docker writes the whole export to a file of its own before its first byte: say at once what is coming.
    if (!original) for (const diffId of image.diffIds) progress?.report(diffId, "exporting", 0, null);
    const { apiVersion } = await this.#api.ping(signal);
    const source = await this.#api.stream({
      // By ID, so that a name that moves meanwhile does not bring another image.
      path: `/images/${image.id}/get`,
      query: {
        platform:
          original && platform !== null && versionAtLeast(apiVersion, "1.48") ? JSON.stringify(platform) : undefined,
      },
      doing: `exporting ${referenceText(reference)}`,
      signal,
    });
    const { readImageArchive } = await import("../content/archive.js");
    const archive = readImageArchive(source, {
      into,
      format: options.format,
      platform,
      sole: true,
      layerNames: original ? undefined : layerNames(image.diffIds, document, this.#timeZoneOffset),
      preferDockerArchive: !original,
      progress,
      signal,
    });
    yield* rememberingRoot(archive, into, key);
  }

  async knownLayers(diffIds: readonly Digest[], signal?: AbortSignal): Promise<ReadonlySet<Digest>> {
    const { imageStore } = await this.info(signal);
    if (imageStore === "containerd") return new Set();
    const images = await this.#listInspected(signal);
    return knownPrefix(
      diffIds,
      images.map((image) => image.diffIds),
    );
  }

  async importImage(root: Descriptor, options: ImportOptions): Promise<{ readonly id: Digest }> {
    const { from, names, signal } = options;
    const info = await this.info(signal);
    const image = await platformImage(from, root, options.platform ?? info.platform, signal);
    const original = info.imageStore === "containerd";
    const target = original && options.platform === null ? root : image.raw.descriptor;
    const id = original ? target.digest : image.manifest.config.digest;
    const known = await this.knownLayers(image.diffIds, signal);
    await requireLayers(from, image, known, signal);
    const doing = `loading ${names.map(String).join(", ") || root.digest}`;
    const report = loadProgress(options.progress, image.diffIds, image.manifest.layers);
    const load = (archive: AsyncIterable<Uint8Array>) => this.#load(archive, { doing, report, signal });
    const { writeDockerArchive, writeOciArchive } = await import("../content/archive.js");
    if (original) {
      const tags = names.map((name) => `${canonicalName(name)}:${name.tag ?? "latest"}`);
      await load(writeOciArchive([{ root: target, names: tags }], from, { signal }));
    } else {
      const images = [{ manifest: image.raw.descriptor, names, omit: known }];
      const { gzipSize } = await import("../content/gzip-size.js");
      const unpackedSize = (layer: Descriptor) => gzipSize(from, layer, signal);
      const unpacked = (await this.#about(signal)).onThisHost;
      try {
        await load(writeDockerArchive(images, from, { signal, ...(unpacked ? { unpackedSize } : {}) }));
      } catch (error) {
        if (!unpacked || !isForUnpacking(error)) throw error;
        await load(writeDockerArchive(images, from, { signal }));
      }
    }
    await checkLoaded({ id, diffIds: image.diffIds, names }, async (reference) => {
      return (await this.#inspect(reference, signal))?.image ?? null;
    });
    return { id };
  }

  async #load(archive: AsyncIterable<Uint8Array>, { doing, report, signal }: LoadOptions): Promise<void> {
    const answer = await this.#api.stream({
      method: "POST",
      path: "/images/load",
      query: { quiet: 0 },
      body: archive,
      doing,
      signal,
    });
    for await (const line of jsonLines(answer, { doing })) {
      // The containerd store keeps an image that it can't unpack, and says so in passing.
      if (typeof line.stream === "string" && line.stream.startsWith("Error unpacking")) {
        throw engineFailure(line.stream, doing);
      }
      report(line);
    }
  }

  async exchange(signal?: AbortSignal): Promise<EngineExchange | null> {
    const { info, onThisHost } = await this.#about(signal);
    if (info.moves !== "by-itself") return null;
    const { DockerExchange } = await import("./docker-exchange.js");
    return new DockerExchange(this.#api, this, {
      onThisHost,
      inspected: (image) => this.#inspected.get(image) ?? null,
    });
  }

  async close(): Promise<void> {
    await this.#api.close();
  }
}

interface LoadOptions {
  readonly doing: string;
  readonly report: (line: JsonObject) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * Whether a load may have failed because layers were unpacked on the way: Docker unpacks them at half our speed, but keeps what comes in
 * a folder until it has all of it; and how much comes out is a guess before it is done.
 */
function isForUnpacking(error: unknown): boolean {
  return isLadingError(error) && (error.code === "no-space" || error.code === "size-mismatch");
}
