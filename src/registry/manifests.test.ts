import { afterEach, describe, expect, test } from "vitest";
import { testClient } from "../../test/support/registry-client.js";
import { on, type ScriptedRegistry, startScriptedRegistry } from "../../test/support/scripted-registry.js";
import { describeBytes, withCode } from "../../test/support/store-contract.js";
import { readAll } from "../content/verify.js";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";

const bytes = Buffer.from(`{"schemaVersion":2,"mediaType":"${mediaTypes.ociIndex}","manifests":[]}`);
const descriptor = describeBytes(bytes, mediaTypes.ociIndex);
const byTag = "/v2/a/b/manifests/v1";
const byDigest = `/v2/a/b/manifests/${descriptor.digest}`;

let registry: ScriptedRegistry;
let close: () => void = () => {};
afterEach(async () => {
  close();
  await registry.close();
});

async function open() {
  registry = await startScriptedRegistry();
  const { client } = testClient(registry.url);
  close = () => client.close();
  const stored = { type: mediaTypes.ociIndex, bytes };
  registry.manifests.set("v1", stored).set(descriptor.digest, stored);
  return { client, repository: client.repository("a/b", { side: "source" }) };
}

describe("what a tag points at", () => {
  test("is one HEAD that asks for every kind of manifest", async () => {
    const { repository } = await open();
    expect(await repository.head("v1")).toEqual(descriptor);
    expect(registry.log).toEqual([`HEAD ${byTag}`]);
    const { accept } = registry.requests[0]?.headers ?? {};
    for (const type of [
      mediaTypes.ociIndex,
      mediaTypes.ociManifest,
      mediaTypes.dockerList,
      mediaTypes.dockerManifest,
    ]) {
      expect(accept).toContain(type);
    }
  });

  test.each([
    ["no digest", { "content-type": mediaTypes.ociIndex }],
    ["no type", { "docker-content-digest": descriptor.digest }],
    ["a digest that is none", { "content-type": mediaTypes.ociIndex, "docker-content-digest": "sha256:../x" }],
  ])("is read and hashed where HEAD gives %s", async (_what, headers) => {
    const { repository } = await open();
    registry.handlers.push(on("HEAD", byTag, (exchange) => exchange.send(200, headers)));
    expect(await repository.head("v1")).toEqual(descriptor);
    expect(registry.log).toEqual([`HEAD ${byTag}`, `GET ${byTag}`]);
  });

  test("is read where there is no HEAD", async () => {
    const { repository } = await open();
    registry.handlers.push(on("HEAD", byTag, (exchange) => exchange.send(405)));
    expect(await repository.resolve("v1")).toEqual(descriptor);
  });
});

describe("a manifest", () => {
  test("with a type that says nothing is known by its content", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on("GET", byTag, (exchange) => exchange.send(200, { "content-type": "application/json" }, bytes)),
    );
    expect((await repository.manifest("v1")).descriptor).toEqual(descriptor);
  });

  test("with a header that lies is known by its bytes", async () => {
    const { repository } = await open();
    const lie = digestOf("other");
    registry.handlers.push(
      on("GET", byTag, (exchange) =>
        exchange.send(200, { "content-type": mediaTypes.ociIndex, "docker-content-digest": lie }, bytes),
      ),
    );
    expect((await repository.manifest("v1")).descriptor.digest).toBe(descriptor.digest);
  });

  test("asked for by digest must have it, whatever its header says (CVE-2025-24882)", async () => {
    const { repository } = await open();
    const other = Buffer.from(`${bytes} `);
    registry.handlers.push(
      on("GET", byDigest, (exchange) =>
        exchange.send(200, { "content-type": mediaTypes.ociIndex, "docker-content-digest": digestOf(other) }, other),
      ),
      on("HEAD", byDigest, (exchange) => exchange.send(200, { "docker-content-digest": digestOf(other) })),
    );
    const error = expect.objectContaining({ code: "digest-mismatch", side: "source", digest: descriptor.digest });
    await expect(repository.manifest(descriptor.digest)).rejects.toEqual(error);
    await expect(repository.head(descriptor.digest)).rejects.toEqual(error);
    await expect(readAll(repository.get(descriptor), 1000)).rejects.toEqual(error);
  });

  test("larger than is allowed is not read to its end", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on("GET", byTag, (exchange) =>
        exchange.send(200, { "content-type": mediaTypes.ociIndex }, Buffer.alloc(9_000_000)),
      ),
    );
    await expect(repository.manifest("v1")).rejects.toEqual(withCode("limit-exceeded"));
  });

  test("that is missing is never looked for among the blobs", async () => {
    const { repository } = await open();
    registry.manifests.clear();
    registry.blobs.set(descriptor.digest, bytes);
    await expect(repository.manifest(descriptor.digest)).rejects.toEqual(withCode("not-found"));
    expect(registry.log).toEqual([`GET ${byDigest}`]);
  });

  test("with a name that is no tag and no digest asks nothing", async () => {
    const { repository, client } = await open();
    for (const reference of ["../v1", "a b", "sha256:../../x", "x".repeat(129), "", "a?b"]) {
      await expect(repository.manifest(reference)).rejects.toEqual(withCode("bad-reference"));
    }
    for (const name of ["a/../b", "A/b", "a//b", "/a", "a?b", "", "a/b%2e"]) {
      expect(() => client.repository(name)).toThrow(withCode("bad-reference"));
    }
    expect(registry.requests).toEqual([]);
  });
});

describe("a deletion", () => {
  test("whose answer is lost is not taken for one of nothing", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on(
        "DELETE",
        byTag,
        (exchange) => {
          registry.manifests.clear();
          exchange.request.socket.destroy();
        },
        1,
      ),
    );
    await repository.deleteTag("v1");
    expect(registry.log).toEqual([`DELETE ${byTag}`, `HEAD ${byTag}`]);
  });

  test("whose answer is lost on a kept connection is not taken for one of nothing either", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on(
        "DELETE",
        byDigest,
        (exchange) => {
          registry.manifests.clear();
          exchange.request.socket.destroy();
        },
        1,
      ),
    );
    await repository.deleteManifest(descriptor.digest);
    // it is read first: if it had a subject, it might be in a list that clients keep
    expect(registry.log).toEqual([`GET ${byDigest}`, `DELETE ${byDigest}`, `HEAD ${byDigest}`]);
  });

  test("that was lost on its way is sent again", async () => {
    const { repository } = await open();
    registry.handlers.push(on("DELETE", byDigest, ({ request }) => void request.socket.destroy(), 1));
    await repository.deleteManifest(descriptor.digest);
    expect(registry.log).toEqual([
      `GET ${byDigest}`,
      ...["DELETE", "HEAD", "DELETE"].map((one) => `${one} ${byDigest}`),
    ]);
  });
});

describe("lists", () => {
  test("null is empty, and a page size that is not liked is left to the registry", async () => {
    const { repository } = await open();
    registry.handlers.push(
      on("GET", /tags\/list\?n=1000$/, (exchange) => exchange.send(400)),
      on("GET", /tags\/list$/, (exchange) => exchange.send(200, {}, '{"name":"a/b","tags":null}')),
    );
    const pages: (readonly string[])[] = [];
    for await (const page of repository.tags()) pages.push(page);
    expect(pages).toEqual([[]]);
  });

  test.each(['{"tags":[1]}', '{"tags":{}}', "{}", "no json"])("%s is no list", async (body) => {
    const { repository } = await open();
    registry.handlers.push(on("GET", /tags\/list/, (exchange) => exchange.send(200, {}, body)));
    await expect(repository.tags()[Symbol.asyncIterator]().next()).rejects.toEqual(withCode("manifest-invalid"));
  });

  test("a registry without a catalog does not support it", async () => {
    const { client } = await open();
    await expect(client.catalog()[Symbol.asyncIterator]().next()).rejects.toEqual(withCode("unsupported"));
  });

  test("warnings of a registry are passed on once", async () => {
    await open();
    registry.handlers.push((exchange) => {
      exchange.response.setHeader("warning", '299 - "old \\"client\\"", 110 - "other"');
      return false;
    });
    const { client, warnings } = testClient(registry.url);
    await client.ping();
    await client.ping();
    client.close();
    expect(warnings).toEqual([expect.stringContaining('old "client"')]);
  });
});
