import { expect } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import type { Answer } from "./answer.js";
import type { RegistryUnderTest } from "./registry-under-test.js";

/** Pushes what tests begin with, and fails where that fails. */
export class Client {
  readonly #registry: RegistryUnderTest;

  constructor(registry: RegistryUnderTest) {
    this.#registry = registry;
  }

  async pushBlob(repository: string, content: Uint8Array | string) {
    const digest = digestOf(content);
    const answer = await this.#registry.send("POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, content);
    expect(answer.status).toBe(201);
    return { digest, size: Buffer.from(content).length };
  }

  /** Begins an upload and gives its location. */
  async startUpload(repository: string): Promise<string> {
    const answer = await this.#registry.send("POST", `/v2/${repository}/blobs/uploads/`, "");
    expect(answer.status).toBe(202);
    return answer.location;
  }

  /** Pushes an image of one layer, which differs by `salt`; null pushes it by its digest. */
  async pushImage(repository: string, reference: string | null, salt: string, more: object = {}) {
    const config = { mediaType: mediaTypes.ociConfig, ...(await this.pushBlob(repository, `{"salt":"${salt}"}`)) };
    const layer = { mediaType: mediaTypes.ociLayerGzip, ...(await this.pushBlob(repository, `layer ${salt}`)) };
    const { ociManifest: mediaType } = mediaTypes;
    const bytes = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer], ...more });
    const digest = digestOf(bytes);
    const answer = await this.putManifest(repository, reference ?? digest, bytes);
    expect(answer.status).toBe(201);
    const size = Buffer.byteLength(bytes);
    return { digest, bytes, layer, config, size, answer, descriptor: { mediaType, digest, size } };
  }

  async putManifest(
    repository: string,
    reference: string,
    bytes: string,
    mediaType: string = mediaTypes.ociManifest,
  ): Promise<Answer> {
    return await this.#registry.send("PUT", `/v2/${repository}/manifests/${reference}`, bytes, {
      "content-type": mediaType,
    });
  }

  /** Follows `Link` to the end. */
  async pages(url: string): Promise<Answer[]> {
    const found: Answer[] = [];
    for (let next: string | null = url; next !== null; ) {
      const answer: Answer = await this.#registry.send("GET", next);
      expect(answer.status).toBe(200);
      found.push(answer);
      next = answer.next;
    }
    return found;
  }
}
