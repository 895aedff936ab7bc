import { MemoryStore } from "../../src/content/memory.js";
import { randomImage, randomIndex } from "../support/random-image.js";

const json = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString());
const store = new MemoryStore();

/** Small real images, whose manifests, configs and layers the suites change. */
export const ociImage = await randomImage(store, { seed: "fuzz", layers: 2, layerSize: 300, format: "oci" });
export const dockerImage = await randomImage(store, { seed: "fuzz", layers: 2, layerSize: 300, format: "docker" });
const ociIndex = await randomIndex(store, {
  seed: "fuzz",
  layers: 1,
  layerSize: 100,
  format: "oci",
  attestations: true,
});
const dockerList = await randomIndex(store, { seed: "fuzz", layers: 1, layerSize: 100, format: "docker" });

const artifact = {
  schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  artifactType: "application/vnd.example+json",
  config: { mediaType: "application/vnd.oci.empty.v1+json", digest: ociImage.root.digest, size: 2, data: "e30=" },
  layers: [{ mediaType: "text/plain", digest: ociImage.root.digest, size: 5, urls: ["https://example/x"] }],
  subject: ociImage.root,
  annotations: { "org.opencontainers.image.created": "2024-05-06T07:08:09Z" },
};

export const manifests = [json(ociImage.manifest), json(dockerImage.manifest), artifact];
export const indexes = [json(ociIndex.manifest), json(dockerList.manifest)];
export const configs = [
  json(ociImage.config.bytes),
  json(ociIndex.images[0]?.config.bytes ?? new Uint8Array()),
  { architecture: "arm", variant: "v7", os: "linux", rootfs: { type: "layers", diff_ids: [] }, "os.features": ["x"] },
];
