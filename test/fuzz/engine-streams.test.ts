import fc from "fast-check";
import { describe, expect } from "vitest";
import { readInspected, toEngineImages } from "../../src/engines/engine-image.js";
import { jsonLines } from "../../src/engines/json-lines.js";
import { loadProgress } from "../../src/engines/load-progress.js";
import { type Digest, digestHex, digestOf } from "../../src/oci/digest.js";
import { fuzz, unlessRefused } from "./fuzz.js";
import { hostileJson, mutatedJson } from "./json-mutation.js";
import { hostileBytes } from "./mutation.js";

const diffIds = [digestOf("one"), digestOf("two")];
const layers = diffIds.map((digest) => ({
  mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
  digest,
  size: 1000,
}));
const short = digestHex(diffIds[0] as Digest).slice(0, 12);
const lines = [
  { status: "Loading layer", progressDetail: { current: 32768, total: 2621440 }, progress: "[=> ]", id: short },
  { status: "Loading layer", progressDetail: { current: 2621440, total: 2621440 }, id: short },
  { stream: "Loaded image: app:1\n" },
  { stream: "Error unpacking image" },
  { errorDetail: { message: "write /x: no space left on device" }, error: "write /x: no space left on device" },
  { cause: "x", message: "payload does not match any of the supported image formats", response: 500 },
  { status: "Pulling from library/alpine", id: "3.20" },
  { status: "Digest: sha256:1e42bbe2508154c9126d48c2b8a75420c3544343bf86fd041fb7527e017a4b4a" },
];
const streams = [lines.slice(0, 3), lines.slice(3, 4), lines.slice(6)].map((part) =>
  Buffer.from(part.map((line) => `${JSON.stringify(line)}\r\n`).join("")),
);
async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const inspected = {
  Id: diffIds[0],
  RepoTags: ["app:1", "localhost/app:2", "<none>:<none>"],
  RepoDigests: [`app@${diffIds[1]}`],
  Created: "2024-05-06T07:08:09.123456789Z",
  Architecture: "arm",
  Variant: "v7",
  Os: "linux",
  Size: 1234,
  RootFS: { Type: "layers", Layers: diffIds },
  Descriptor: { mediaType: "application/vnd.oci.image.index.v1+json", digest: diffIds[1], size: 500 },
  Manifests: [
    { ID: diffIds[0], Kind: "image", Available: true, ImageData: { Platform: { os: "linux", architecture: "arm" } } },
    { ID: diffIds[1], Kind: "attestation", Available: false },
  ],
};

describe("an engine's progress", () => {
  const text = fc.array(mutatedJson(lines), { maxLength: 6 }).map((list) => Buffer.from(list.join("\n")));
  const stream = fc.tuple(fc.oneof(hostileBytes(streams), text), fc.integer({ min: 1, max: 200 }));
  fuzz("any stream is read, or an error of the engine", stream, async ([bytes, cut]) => {
    await unlessRefused(["engine-failed", "no-space", "limit-exceeded"], async () => {
      const report = loadProgress(
        {
          report: (_layer, _status, current, total) => {
            expect(Number.isSafeInteger(current) && current >= 0, `current ${current}`).toBe(true);
            expect(total === null || (Number.isSafeInteger(total) && total > 0), `total ${total}`).toBe(true);
          },
        },
        diffIds,
        layers,
      );
      for await (const line of jsonLines(pieces(bytes, cut), { doing: "loading" })) report(line);
    });
  });

  fuzz("any description of an image is read, or none", hostileJson([inspected]), (bytes) => {
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString());
    } catch {
      return;
    }
    const image = readInspected(value);
    if (image === null) return;
    for (const { size, created, platforms } of toEngineImages(image)) {
      expect(Number.isSafeInteger(size) && size >= 0, `size ${size}`).toBe(true);
      expect(created === null || !Number.isNaN(Date.parse(created)), `created ${created}`).toBe(true);
      for (const { os, architecture } of platforms)
        expect([typeof os, typeof architecture]).toEqual(["string", "string"]);
    }
  });
});
