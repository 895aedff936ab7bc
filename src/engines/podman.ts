import { join } from "node:path";
import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import { splitName } from "../image/reference.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { choosePlatform, formatPlatform, hostPlatform, normalizePlatform } from "../oci/platform.js";
import { endpointText } from "./endpoint.js";
import type { EngineImage, EngineInfo, EngineReference, ExportOptions, ImportOptions, LocalEngine } from "./engine.js";
import type { EngineApi } from "./engine-api.js";
import { platformImage, requireLayers, wholeTree } from "./engine-content.js";
import { type InspectedImage, readInspected, toEngineImage, toEngineImages } from "./engine-image.js";
import { canonicalName, referencePath, referenceText } from "./engine-reference.js";
import { rememberingRoot } from "./export-root.js";
import { canRead } from "./image-folders.js";
import { isJsonObject, jsonLines } from "./json-lines.js";
import { layerNames } from "./legacy-layer-id.js";
import { checkLoaded } from "./load-check.js";
import { OverlaySource } from "./overlay-source.js";
import { podmanManifest } from "./podman-manifest.js";

export interface PodmanEngineOptions {
  /** Stops what was started for this engine. */
  readonly onClose?: (() => Promise<void>) | undefined;
}

interface AboutPodman {
  readonly info: EngineInfo;
  /** Where the overlay driver keeps its images, if this process may read it. */
  readonly overlayRoot: string | null;
}

/**
 * Podman, through its own API (`/libpod`): the one that imitates Docker's reads a name without a host as one of Docker
 * Hub, which is not what Podman's user means by it.
 */
export class PodmanEngine implements LocalEngine {
  readonly kind = "podman";
  readonly #api: EngineApi;
  readonly #onClose: () => Promise<void>;
  #described: Promise<AboutPodman> | null = null;

  constructor(api: EngineApi, options: PodmanEngineOptions = {}) {
    this.#api = api;
    this.#onClose = options.onClose ?? (async () => {});
  }

  async info(signal?: AbortSignal): Promise<EngineInfo> {
    return (await this.#about(signal)).info;
  }

  #about(signal?: AbortSignal): Promise<AboutPodman> {
    this.#described ??= this.#askInfo(signal).catch((error: unknown) => {
      this.#described = null;
      throw error;
    });
    return this.#described;
  }

  async #askInfo(signal?: AbortSignal): Promise<AboutPodman> {
    const { libpodVersion } = await this.#api.ping(signal);
    const answer = await this.#api.json({ path: "/libpod/info", doing: "asking the engine what it is", signal });
    const host = isJsonObject(answer) && isJsonObject(answer.host) ? answer.host : {};
    const version = isJsonObject(answer) && isJsonObject(answer.version) ? answer.version : {};
    const architecture = typeof host.arch === "string" ? host.arch : "amd64";
    const store = isJsonObject(answer) && isJsonObject(answer.store) ? answer.store : {};
    const root = typeof store.graphRoot === "string" ? store.graphRoot : "";
    const readable =
      this.#api.endpoint.kind === "socket" &&
      store.graphDriverName === "overlay" &&
      (await canRead(join(root, "overlay-layers")));
    return {
      info: {
        kind: this.kind,
        endpoint: endpointText(this.#api.endpoint),
        version: typeof version.Version === "string" ? version.Version : libpodVersion,
        apiVersion: libpodVersion,
        imageStore: "containers-storage",
        moves: readable ? "folders" : "archive",
        platform: hostPlatform(normalizePlatform({ os: "linux", architecture }).architecture),
      },
      overlayRoot: readable ? root : null,
    };
  }

  async list(signal?: AbortSignal): Promise<readonly EngineImage[]> {
    return (await this.#listInspected(signal)).flatMap(toEngineImages);
  }

  async #listInspected(signal?: AbortSignal): Promise<readonly InspectedImage[]> {
    const answer = await this.#api.json({ path: "/libpod/images/json", doing: "listing images", signal });
    const images: InspectedImage[] = [];
    for (const entry of Array.isArray(answer) ? answer : []) {
      const id = readInspected(entry)?.id;
      // One after the other: Podman takes a lock for each. One that goes meanwhile is left out.
      const image = id === undefined ? null : await this.#inspectText(id, signal);
      if (image !== null) images.push(image);
    }
    return images;
  }

  async inspect(reference: EngineReference, signal?: AbortSignal): Promise<EngineImage | null> {
    const found = await this.#find(reference, signal);
    return found === null ? null : toEngineImage(found.image, typeof reference === "string" ? null : reference);
  }

  /** The image and the spelling under which Podman has it: a name without a host is local, else Docker Hub's. */
  async #find(
    reference: EngineReference,
    signal?: AbortSignal,
  ): Promise<{ readonly image: InspectedImage; readonly spelling: string } | null> {
    for (const spelling of spellings(reference)) {
      const image = await this.#inspectText(spelling, signal);
      if (image !== null) return { image, spelling };
    }
    return null;
  }

  async #require(
    reference: EngineReference,
    signal?: AbortSignal,
  ): Promise<{ image: InspectedImage; spelling: string }> {
    const found = await this.#find(reference, signal);
    if (found !== null) return found;
    throw new LadingError("not-found", `Podman has no image ${referenceText(reference)}`, {
      hint: "see the names it has with: lading images",
    });
  }

  async #inspectText(text: string, signal?: AbortSignal): Promise<InspectedImage | null> {
    const doing = `inspecting ${text}`;
    try {
      const document = await this.#api.json({ path: `/libpod/images/${referencePath(text)}/json`, doing, signal });
      const image = readInspected(document);
      if (image !== null) return image;
    } catch (error) {
      if (error instanceof LadingError && error.code === "not-found") return null;
      throw error;
    }
    throw new LadingError("engine-failed", `Podman describes ${text} in an unknown way`);
  }

  async tag(reference: EngineReference, name: LocalImage, signal?: AbortSignal): Promise<void> {
    const { image } = await this.#require(reference, signal);
    await this.#tag(image.id, name, signal);
  }

  async #tag(id: Digest, name: LocalImage, signal?: AbortSignal): Promise<void> {
    await this.#api.json({
      method: "POST",
      path: `/libpod/images/${referencePath(id)}/tag`,
      query: { repo: localName(name), tag: name.tag ?? "latest" },
      doing: `tagging ${name}`,
      signal,
    });
  }

  async remove(
    reference: EngineReference,
    options: { readonly force: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const { image, spelling } = await this.#require(reference, options.signal);
    if (typeof reference === "string" && image.names.length > 1 && !options.force) {
      // Podman refuses it too, with the status of an accident.
      throw new LadingError("conflict", `${reference} has several names: ${image.names.join(", ")}`, {
        digest: reference,
        hint: "remove them one by one, or all with --force",
      });
    }
    await this.#api.json({
      method: "DELETE",
      path: `/libpod/images/${referencePath(spelling)}`,
      query: { force: options.force },
      doing: `removing ${referenceText(reference)}`,
      signal: options.signal,
    });
  }

  async *exportImage(reference: EngineReference, options: ExportOptions): AsyncGenerator<Descriptor> {
    const { into, signal, progress, format } = options;
    const { image } = await this.#require(reference, signal);
    const offered = image.platforms.map((platform) => ({ platform }));
    if (options.platform !== null && offered.length > 0 && choosePlatform(offered, options.platform) === null) {
      const platforms = image.platforms.map(formatPlatform).join(", ");
      throw new LadingError("not-found", `${referenceText(reference)} is ${platforms} in Podman`, {
        hint: `leave --platform ${formatPlatform(options.platform)} out`,
      });
    }
    const remembered = await into.manifestFor(image.id, format, "all");
    const whole = remembered === null ? null : await wholeTree(into, remembered, signal);
    if (whole !== null) {
      yield* whole;
      return;
    }
    const key = [image.id, format, "all"] as const;
    const { overlayRoot } = await this.#about(signal);
    if (overlayRoot !== null) {
      const { exportOverlay } = await import("./folder-export.js");
      if (yield* exportOverlay("podman", overlayRoot, image, options, key)) return;
    }
    for (const diffId of image.diffIds) progress?.report(diffId, "exporting", 0, null);
    const source = await this.#api.stream({
      path: `/libpod/images/${image.id}/get`,
      query: { format: "docker-archive" },
      doing: `exporting ${referenceText(reference)}`,
      signal,
    });
    const { readImageArchive } = await import("../content/archive.js");
    const archive = readImageArchive(source, {
      into,
      format,
      layerNames: layerNames(image.diffIds, {}, 0),
      progress,
      signal,
    });
    yield* rememberingRoot(archive, into, key);
  }

  /** Podman keeps a layer by its content too, so any image may have it, at any height. */
  async knownLayers(diffIds: readonly Digest[], signal?: AbortSignal): Promise<ReadonlySet<Digest>> {
    const has = new Set((await this.#listInspected(signal)).flatMap((image) => image.diffIds));
    return new Set(diffIds.filter((diffId) => has.has(diffId)));
  }

  async importImage(root: Descriptor, options: ImportOptions): Promise<{ readonly id: Digest }> {
    const { from, names, signal } = options;
    const info = await this.info(signal);
    const image = await platformImage(from, root, options.platform ?? info.platform, signal);
    const known = await this.knownLayers(image.diffIds, signal);
    await requireLayers(from, image, known, signal);
    const sent = podmanManifest(image, known);
    const [first, ...others] = names;
    const { writeOciArchive } = await import("../content/archive.js");
    const archive = writeOciArchive(
      [{ root: sent.descriptor, names: first === undefined ? [] : [loadedName(first)] }],
      new OverlaySource(from, sent.added, sent.hidden),
      { signal },
    );
    const doing = `loading ${names.map(String).join(", ") || root.digest}`;
    const answer = await this.#api.stream({
      method: "POST",
      path: "/libpod/images/load",
      body: archive,
      doing,
      signal,
    });
    for await (const _line of jsonLines(answer, { doing }));
    const id = image.manifest.config.digest;
    for (const name of others) await this.#tag(id, name, signal);
    await checkLoaded({ id, diffIds: image.diffIds, names }, async (reference) => {
      // Exactly the name that was given: a fallback to Docker Hub's would hide that it is missing.
      const spelling = typeof reference === "string" ? reference : loadedName(reference);
      return await this.#inspectText(spelling, signal);
    });
    return { id };
  }

  async close(): Promise<void> {
    await this.#api.close();
    await this.#onClose();
  }
}

/** Where Podman looks for a name, in the order in which a user means it. */
function spellings(reference: EngineReference): readonly string[] {
  if (typeof reference === "string") return [reference];
  const tag = reference.tag ?? "latest";
  return [...new Set([localName(reference), canonicalName(reference)])].map((name) => `${name}:${tag}`);
}

/** A name as Podman keeps it: `localhost/` in front of one without a host. */
function localName(image: LocalImage): string {
  const { host, path } = splitName(image.name);
  return host === null ? `localhost/${path}` : `${host}/${path}`;
}

function loadedName(image: LocalImage): string {
  return `${localName(image)}:${image.tag ?? "latest"}`;
}
