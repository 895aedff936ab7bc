import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type ImageProgressEvent,
  type ImageProgressStep,
  isLadingError,
  LocalImage,
  progressEvents,
  RemoteImage,
  Tag,
} from "../../src/index.js";
import { randomImage, randomIndex } from "../support/random-image.js";
import { type TestBench, testBench } from "../support/sdk-client.js";
import { validateImage } from "../support/validate-image.js";

let bench: TestBench;
beforeEach(async () => {
  bench = await testBench();
});
afterEach(async () => {
  await bench.close();
});

/** Puts a random image into the store engine under a name. */
async function localImage(name: string, options: Parameters<typeof randomImage>[1] = {}) {
  const image = await randomImage(bench.store, options);
  await bench.store.tag(image.root, name);
  return { image, local: bench.client.parse.localImage(name) };
}

async function code(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "no error",
    (reason: unknown) => reason,
  );
  return isLadingError(error) ? error.code : String(error);
}

describe("Images.push", () => {
  it("computes the remote image and resolves once the tag is there", async () => {
    const { image, local } = await localImage("app:1");
    const remote = await bench.client.images.push(local);
    expect(remote.toString()).toBe("image://main/alice/app:1");
    expect(await bench.client.images.digest(remote)).toBe(image.root.digest);
  });

  it("sends the original bytes and says what it did", async () => {
    const { image, local } = await localImage("app:1", { layers: 3 });
    const result = await bench.client.images.pushDetailed(local, null, { tags: ["latest", "2"] });
    expect(result.toJSON()).toMatchObject({
      local: "app:1",
      remote: "image://main/alice/app:1",
      reference: `localhost:5999/alice/app@${image.root.digest}`,
      digest: image.root.digest,
      manifestDigest: image.root.digest,
      platforms: ["linux/amd64"],
      tags: ["1", "latest", "2"],
      engine: "store",
      blobs: { sent: 4, mounted: 0, existing: 0 },
      unchanged: false,
    });
    expect(result.size).toBe(image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0));
    const tags = await bench.client.images.tags(
      RemoteImage.newNeuroImage("app", "localhost:5999", { owner: "alice", clusterName: "main" }),
    );
    expect(tags.map(({ tag }) => tag).sort()).toEqual(["1", "2", "latest"]);
  });

  it("sends nothing the second time", async () => {
    const { local } = await localImage("app:1");
    await bench.client.images.push(local);
    const again = await bench.client.images.pushDetailed(local);
    expect(again).toMatchObject({ unchanged: true, bytesSent: 0, blobs: { sent: 0 } });
  });

  it("mounts what another repository of the registry has, instead of sending it", async () => {
    const { local } = await localImage("app:1", { layers: 3 });
    await bench.client.images.push(local);
    const result = await bench.client.images.pushDetailed(local, bench.client.parse.remoteImage("image:other:1"));
    expect(result).toMatchObject({ blobs: { sent: 0, mounted: 4, existing: 0 }, bytesSent: 0 });
  });

  it("refuses to move a tag with noClobber, and leaves it as it was", async () => {
    const first = await localImage("app:1", { seed: "one" });
    await bench.client.images.push(first.local);
    const second = await localImage("other:1", { seed: "two" });
    const remote = bench.client.parse.remoteImage("image:app:1");
    expect(await code(bench.client.images.push(second.local, remote, { noClobber: true }))).toBe("conflict");
    expect(await bench.client.images.digest(remote)).toBe(first.image.root.digest);
  });

  it("leaves with noClobber a tag to the push that was faster", async () => {
    const [first, second] = [await localImage("app:1", { seed: "one" }), await localImage("other:1", { seed: "two" })];
    const remote = bench.client.parse.remoteImage("image:app:1");
    const pushes = [first, second].map(({ local }) => bench.client.images.push(local, remote, { noClobber: true }));
    expect((await Promise.all(pushes.map(code))).sort()).toEqual(["conflict", "no error"]);
    // the same image again is no conflict
    const digest = await bench.client.images.digest(remote);
    for (const { image, local } of [first, second]) {
      const result = await code(bench.client.images.push(local, remote, { noClobber: true }));
      expect(result).toBe(image.root.digest === digest ? "no error" : "conflict");
    }
  });

  it("converts media types with format", async () => {
    const { local } = await localImage("app:1", { format: "oci" });
    const result = await bench.client.images.pushDetailed(local, null, { format: "docker" });
    expect(result.mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    const again = await bench.client.images.pushDetailed(local, null, { format: "docker" });
    expect(again).toMatchObject({ digest: result.digest, unchanged: true });
  });

  it("is not-found on the source side for an image that is not there", async () => {
    const error: unknown = await bench.client.images
      .push(new LocalImage("nothing", "1"))
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "not-found", side: "source", operation: "push" });
  });
});

describe("Images.pull", () => {
  it("brings back what was pushed, whole and under its name", async () => {
    const { image, local } = await localImage("app:1");
    const remote = await bench.client.images.push(local);
    await bench.store.untag("app:1");
    const pulled = await bench.client.images.pull(remote);
    expect(pulled.toString()).toBe("app:1");
    expect((await bench.store.resolve("app:1"))?.digest).toBe(image.root.digest);
    await validateImage(bench.store, image.root);
  });

  it("takes the host's platform of an index, and all of it when asked", async () => {
    const index = await randomIndex(bench.store, { attestations: true });
    await bench.store.tag(index.root, "multi:1");
    const remote = await bench.client.images.push(bench.client.parse.localImage("multi:1"));
    const one = await bench.client.images.pullDetailed(remote, new LocalImage("one", "1"), { platform: "linux/arm64" });
    expect(one).toMatchObject({
      digest: index.root.digest,
      id: index.images[1]?.root.digest,
      platforms: ["linux/arm64"],
    });
    const all = await bench.client.images.pullDetailed(remote, new LocalImage("all", "1"), { platform: "all" });
    expect(all).toMatchObject({ id: index.root.digest, manifestDigest: null });
  });

  it("names the old image when it moves a name", async () => {
    const first = await localImage("app:1", { seed: "one" });
    const second = await localImage("app:2", { seed: "two" });
    const remote = await bench.client.images.push(second.local);
    const result = await bench.client.images.pullDetailed(remote, new LocalImage("app", "1"));
    expect(result).toMatchObject({ previousId: first.image.root.digest, id: second.image.root.digest });
  });

  it("gives a reference by digest its first 12 digits as the tag", async () => {
    const { image, local } = await localImage("app:1");
    await bench.client.images.push(local);
    const remote = bench.client.parse.remoteImage(`image:app@${image.root.digest}`);
    const pulled = await bench.client.images.pull(remote);
    expect(pulled.toString()).toBe(`app:${image.root.digest.slice(7, 19)}`);
  });

  it("is unchanged when the engine has it", async () => {
    const { local } = await localImage("app:1");
    const remote = await bench.client.images.push(local);
    expect(await bench.client.images.pullDetailed(remote)).toMatchObject({ unchanged: true, bytesReceived: 0 });
  });

  it("is not-found for a tag that is not there, and leaves the store as it was", async () => {
    const before = await bench.store.entries();
    expect(await code(bench.client.images.pull(bench.client.parse.remoteImage("image:app:9")))).toBe("not-found");
    expect(await bench.store.entries()).toEqual(before);
  });
});

describe("Images.list, tags, size, digest, tagInfo, rm", () => {
  it("list: every repository as an image without tag; a bad name is a warning", async () => {
    for (const name of ["app:1", "web/front:1"]) await bench.client.images.push((await localImage(name)).local);
    // A repository of one component has no owner: no image of a cluster can be called that.
    const index = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] };
    const { status } = await bench.registry.handle({
      method: "PUT",
      url: "/v2/lonely/manifests/1",
      headers: { "content-type": index.mediaType },
      body: Buffer.from(JSON.stringify(index)),
    });
    expect(status).toBe(201);
    const images = await bench.client.images.list();
    expect(images.map(String).sort()).toEqual(["image://main/alice/app", "image://main/alice/web/front"]);
    expect(bench.warnings).toEqual([expect.stringContaining("lonely")]);
  });

  it("tags refuses a tag", async () => {
    expect(await code(bench.client.images.tags(bench.client.parse.remoteImage("image:app:1")))).toBe("bad-reference");
  });

  it("tagsDetailed has digest, size, date and platforms", async () => {
    const { image, local } = await localImage("app:1");
    await bench.client.images.push(local);
    const { tags } = await bench.client.images.tagsDetailed(
      bench.client.parse.remoteImage("image:app", { tagOption: "deny" }),
      {
        details: true,
      },
    );
    expect(tags).toEqual([
      {
        tag: "1",
        digest: image.root.digest,
        mediaType: image.root.mediaType,
        size: image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0),
        created: "2024-05-06T07:08:09Z",
        platforms: ["linux/amd64"],
        error: null,
      },
    ]);
  });

  it("size and tagInfo count the layers; of an index the distinct ones", async () => {
    const index = await randomIndex(bench.store, { attestations: true });
    await bench.store.tag(index.root, "multi:1");
    const remote = await bench.client.images.push(bench.client.parse.localImage("multi:1"));
    const layers = new Map(
      index.images.flatMap((image) => image.layers.map((layer) => [layer.descriptor.digest, layer.bytes.length])),
    );
    const total = [...layers.values()].reduce((sum, bytes) => sum + bytes, 0);
    expect(await bench.client.images.size(remote)).toBe(total);
    const own = index.images[0]?.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
    expect(await bench.client.images.size(remote, { platform: "linux/amd64" })).toBe(own);
    expect(await bench.client.images.tagInfo(remote)).toEqual(new Tag("1", total));
  });

  it("rm deletes by digest", async () => {
    const remote = await bench.client.images.push((await localImage("app:1")).local);
    const digest = await bench.client.images.digest(remote);
    await bench.client.images.rm(remote, digest);
    expect(await code(bench.client.images.digest(remote))).toBe("not-found");
  });

  it("removeTag keeps the manifest while another tag uses it", async () => {
    const { local } = await localImage("app:1");
    const remote = await bench.client.images.push(local, null, { tags: ["2"] });
    const plan = await bench.client.images.planRemoval(remote);
    expect(plan.toJSON()).toMatchObject({
      dryRun: true,
      removals: [{ removes: "tag", otherTags: ["2"], removed: false }],
    });
    await bench.client.images.removeTag(remote);
    expect(await code(bench.client.images.digest(remote))).toBe("not-found");
    expect(await bench.client.images.digest(remote.withTag("2"))).toMatch(/^sha256:/);
    const last = await bench.client.images.removeTag(remote.withTag("2"));
    expect(last.removals[0]).toMatchObject({ removes: "manifest", removed: true });
  });
});

describe("progress", () => {
  it("reports push, then steps whose statuses go forward and end exactly once", async () => {
    const { image, local } = await localImage("app:1", { layers: 3, layerSize: 300_000 });
    const events: ImageProgressEvent[] = [];
    await bench.client.images.push(local, null, {
      progress: (event) => {
        events.push(event);
      },
    });
    expect(events[0]).toMatchObject({ type: "push", src: local });
    const steps = events.filter((event): event is { type: "step" } & ImageProgressStep => event.type === "step");
    const order = ["waiting", "exporting", "compressing", "checking", "uploading", "done"];
    const byLayer = new Map<string, ImageProgressStep[]>();
    for (const step of steps) byLayer.set(step.layerId, [...(byLayer.get(step.layerId) ?? []), step]);
    expect([...byLayer.keys()].sort()).toEqual(image.layers.map((layer) => layer.descriptor.digest).sort());
    for (const own of byLayer.values()) {
      const ranks = own.map((step) => order.indexOf(step.status));
      expect(ranks).toEqual([...ranks].sort((one, two) => one - two));
      expect(own.filter((step) => step.status === "done")).toHaveLength(1);
      const last = own.at(-1);
      expect(last?.current).toBe(last?.total);
    }
  });

  it("can be read as a stream that ends with the transfer", async () => {
    const { local } = await localImage("app:1");
    const progress = progressEvents();
    const push = bench.client.images.push(local, null, { progress });
    const types: string[] = [];
    for await (const event of progress) types.push(event.type);
    await push;
    expect(types[0]).toBe("push");
    expect(types.filter((type) => type === "push")).toHaveLength(1);
  });

  it.each([
    [
      "throws",
      () => {
        throw new Error("no");
      },
    ],
    ["rejects", () => Promise.reject(new Error("no"))],
  ])("a callback that %s stops the transfer", async (_how, progress) => {
    const { local } = await localImage("app:1");
    expect(await code(bench.client.images.push(local, null, { progress }))).toBe("callback-failed");
  });
});

describe("client", () => {
  it("gives `closed` after close, and close may be called again", async () => {
    await bench.client.close();
    await bench.client.close();
    expect(await code(bench.client.images.list())).toBe("closed");
  });

  it("rejects with the signal's reason as the cause", async () => {
    const { local } = await localImage("app:1");
    const reason = new Error("enough");
    const error: unknown = await bench.client.images
      .push(local, null, { signal: AbortSignal.abort(reason) })
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "cancelled", cause: reason });
  });

  it("two transfers of one image at once move each blob once", async () => {
    const { local } = await localImage("app:1", { layers: 4, layerSize: 200_000 });
    const [one, two] = await Promise.all([
      bench.client.images.pushDetailed(local),
      bench.client.images.pushDetailed(local, null, { tags: ["2"] }),
    ]);
    expect(one.blobs.sent + two.blobs.sent).toBe(5);
  });
});
