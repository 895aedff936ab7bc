import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import {
  AbstractDockerImageProgress,
  type Client,
  type ImageProgressPull,
  type ImageProgressPush,
  type ImageProgressStep,
  isLadingError,
  LocalImage,
  openClient,
  RemoteImage,
  Tag,
} from "../../src/index.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { type RandomImage, randomImage } from "../support/random-image.js";

// The reference, name by name (shared/spec/images-reference.rst), each against a real registry over HTTP.

const debian = await findDockerRegistry();

describeReference("the embedded registry", () => startOwnRegistry("memory"));
if (debian === null) {
  describe.skip("the reference over Debian's docker-registry (skipped: the program docker-registry is not installed)", () => {});
} else {
  describeReference("Debian's docker-registry", () => startDockerRegistry(debian));
}

class Recorder extends AbstractDockerImageProgress {
  readonly pulls: ImageProgressPull[] = [];
  readonly pushes: ImageProgressPush[] = [];
  readonly steps: ImageProgressStep[] = [];
  override pull(data: ImageProgressPull): void {
    this.pulls.push(data);
  }
  override push(data: ImageProgressPush): void {
    this.pushes.push(data);
  }
  override step(data: ImageProgressStep): void {
    this.steps.push(data);
  }
}

function describeReference(name: string, start: () => Promise<{ readonly url: string; close(): Promise<void> }>): void {
  describe(`the reference over ${name}`, () => {
    let registry: { readonly url: string; close(): Promise<void> };
    let directory: string;
    let client: Client;
    let store: LayoutStore;
    let image: RandomImage;
    let authority: string;
    const local = new LocalImage("reference", "v1");
    let remote: RemoteImage;

    beforeAll(async () => {
      registry = await start();
      authority = new URL(registry.url).host;
      directory = await mkdtemp(join(tmpdir(), "lading-reference-"));
      client = await openClient({
        config: { clusters: { main: { registryUrl: registry.url } }, cluster: "main", owner: "alice" },
        engine: "store",
        storePath: join(directory, "store"),
        env: { HOME: directory },
      });
      store = new LayoutStore(join(directory, "store"));
      image = await randomImage(store, { layers: 3, layerSize: 50_000, format: "docker" });
      await store.tag(image.root, local.toString());
      remote = RemoteImage.newNeuroImage("reference", authority, {
        owner: "alice",
        clusterName: "main",
        tag: "v1",
        scheme: "http",
      });
      await client.images.push(local, remote);
    });
    afterAll(async () => {
      await client.close();
      await registry.close();
      await rm(directory, { recursive: true, force: true });
    });

    it("Images.push", async () => {
      const progress = new Recorder();
      const given = remote.withTag("push");
      expect(await client.images.push(local, given, { progress })).toBe(given);
      expect(progress.pushes).toEqual([{ src: local, dst: given }]);
      expect((await client.images.push(local)).equals(remote)).toBe(true);
    });

    it("Images.pull", async () => {
      const progress = new Recorder();
      const given = new LocalImage("pulled", "here");
      expect(await client.images.pull(remote, given, { progress })).toBe(given);
      expect(progress.pulls).toEqual([{ src: remote, dst: given }]);
      expect((await store.resolve("pulled:here"))?.digest).toBe(image.root.digest);
      expect((await client.images.pull(remote)).equals(local)).toBe(true);
    });

    it("Images.digest", async () => {
      expect(await client.images.digest(remote)).toBe(image.root.digest);
    });

    it("Images.rm", async () => {
      const other = await randomImage(store, { seed: "to be removed" });
      await store.tag(other.root, "gone:1");
      const gone = await client.images.push(new LocalImage("gone", "1"));
      const digest = await client.images.digest(gone);
      expect(await client.images.rm(gone, digest)).toBe(digest);
      const error: unknown = await client.images.digest(gone).catch((reason: unknown) => reason);
      expect(isLadingError(error) && error.code).toBe("not-found");
    });

    it("Images.list", async () => {
      const images = await client.images.list();
      expect(images.some((found) => found.equals(new RemoteImage({ ...remote, tag: null })))).toBe(true);
      expect(images.every((found) => found.tag === null)).toBe(true);
      const pages: RemoteImage[] = [];
      for await (const page of client.images.listPages("main")) pages.push(...page);
      expect(pages.map(String)).toEqual(images.map(String));
    });

    it("Images.tags", async () => {
      const without = new RemoteImage({ ...remote, scheme: "http", tag: null });
      const tags = await client.images.tags(without);
      expect(tags.map(String)).toContain(remote.toString());
      const pages: RemoteImage[] = [];
      for await (const page of client.images.tagPages(without)) pages.push(...page);
      expect(pages.map(String)).toEqual(tags.map(String));
    });

    it("Images.size", async () => {
      const bytes = image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
      expect(await client.images.size(remote)).toBe(bytes);
    });

    it("Images.tagInfo", async () => {
      const info = await client.images.tagInfo(remote);
      expect(info).toBeInstanceOf(Tag);
      expect(info.equals(new Tag("v1", await client.images.size(remote)))).toBe(true);
    });

    it("AbstractDockerImageProgress, ImageProgressPush, ImageProgressPull, ImageProgressStep", async () => {
      const progress = new Recorder();
      const other = await randomImage(store, { seed: name, layers: 2 });
      await store.tag(other.root, "steps:1");
      const pushed = await client.images.push(new LocalImage("steps", "1"), null, { progress });
      await client.images.pull(pushed, new LocalImage("steps", "2"), { progress });
      expect(progress.pushes[0]?.src.toString()).toBe("steps:1");
      expect(progress.pulls[0]?.dst.toString()).toBe("steps:2");
      for (const step of progress.steps) {
        expect(typeof step.layerId).toBe("string");
        expect(typeof step.message).toBe("string");
        expect(step.current).toBeLessThanOrEqual(step.total);
      }
      expect(new Set(progress.steps.map(({ layerId }) => layerId)).size).toBe(2);
    });

    it("LocalImage", () => {
      expect(client.parse.localImage("reference")).toEqual(new LocalImage("reference", "latest"));
      expect(new LocalImage("reference").tag).toBeNull();
    });

    it("RemoteImage: asDockerUrl, withTag, newNeuroImage, newExternalImage", () => {
      expect(remote.asDockerUrl()).toBe(`${authority}/alice/reference:v1`);
      expect(remote.asDockerUrl(true)).toBe(`http://${authority}/alice/reference:v1`);
      expect(remote.withTag("v2").toString()).toBe("image://main/alice/reference:v2");
      const external = RemoteImage.newExternalImage("ubuntu", null, { tag: "22.04" });
      expect(external).toMatchObject({ owner: null, orgName: null, registry: null, clusterName: null });
      expect(client.parse.remoteImage(remote.toString()).equals(remote)).toBe(true);
    });

    it("Tag", () => {
      expect(new Tag("v1", 3).toJSON()).toEqual({ name: "v1", size: 3 });
    });
  });
}
