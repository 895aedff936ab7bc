import { afterEach, describe, expect, it } from "vitest";
import { type Client, openClient } from "../../src/index.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import type { WireHandler } from "../../src/oci/wire.js";
import type { Repository } from "../../src/registry/repository.js";
import { createRegistry } from "../../src/server/index.js";
import { putBytes, randomImage } from "../support/random-image.js";
import { testClient } from "../support/registry-client.js";
import { withoutReferrers } from "../support/without-referrers.js";

const later: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of later.splice(0).reverse()) await close();
});

/** Two registries, each behind its own handler, and a client that knows them as the clusters `from` and `to`. */
async function open(ends: { readonly from?: Wrap; readonly to?: Wrap }) {
  const names = ["from", "to"] as const;
  const [from, to] = names.map((name) => {
    const registry = createRegistry({ storage: "memory" });
    later.push(() => registry.close());
    const handle = (ends[name] ?? ((inner) => inner))(registry.handle);
    const { client } = testClient("http://registry.invalid", { handler: handle });
    later.push(() => client.close());
    return { registry: { ...registry, handle }, repository: client.repository("alice/app") };
  });
  if (from === undefined || to === undefined) throw new Error("two registries");
  const at = (registry: typeof from.registry, port: number) => ({ registryUrl: `http://localhost:${port}`, registry });
  const clusters = { from: at(from.registry, 5997), to: at(to.registry, 5998) };
  const client = await openClient({ config: { clusters, cluster: "to", owner: "alice" }, engine: "store", env: {} });
  later.push(() => client.close());
  return { client, from: from.repository, to: to.repository };
}

type Wrap = (handle: WireHandler) => WireHandler;

/** A manifest that refers to another, with a blob of its own. */
async function refer(to: Repository, subject: Descriptor, text: string): Promise<Descriptor> {
  const config = await putBytes(to, mediaTypes.ociEmpty, Buffer.from("{}"));
  const layer = await putBytes(to, mediaTypes.octetStream, Buffer.from(text));
  const artifactType = "application/vnd.example.signature";
  const body = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, artifactType, config, layers: [layer], subject };
  return await putBytes(to, mediaTypes.ociManifest, Buffer.from(JSON.stringify(body)));
}

const copied = (client: Client) =>
  client.images.copy(client.parse.remoteImage("image://from/alice/app:1"), client.parse.remoteImage("image:app:1"), {
    referrers: true,
  });

describe("Images.copy with referrers", () => {
  const old: Wrap = (handle) => withoutReferrers(handle);
  it.each([
    ["with", {}, "with", {}],
    ["without", { from: old }, "with", {}],
    ["with", {}, "without", { to: old }],
    ["without", { from: old }, "without", { to: old }],
  ])("brings all that refers to an image from a registry %s their API to one %3$s it", async (_from, one, _to, two) => {
    const { client, from, to } = await open({ ...one, ...two });
    const { root } = await randomImage(from, { layers: 1 });
    await from.tag(root, "1");
    const signature = await refer(from, root, "signature");
    const ofSignature = await refer(from, signature, "of the signature");
    const other = await refer(from, root, "other");
    const digests = async (subject: Descriptor) => (await to.referrers(subject.digest)).map(({ digest }) => digest);
    for (const unchanged of [false, true]) {
      expect(await copied(client)).toMatchObject({ digest: root.digest, unchanged });
      expect((await digests(root)).sort()).toEqual([signature.digest, other.digest].sort());
      expect(await digests(signature)).toEqual([ofSignature.digest]);
    }
    expect(await to.has(other)).toBe(true);
    const lists = [root, signature].map(({ digest }) => digest.replace(":", "-"));
    const tags: string[] = [];
    for await (const page of to.tags()) tags.push(...page);
    expect(tags.sort()).toEqual("to" in two ? ["1", ...lists].sort() : ["1"]);

    // what is removed is in no list of the registry's clients any more, and such a list holds nothing
    const gone = client.parse.remoteImage(`image:app@${other.digest}`);
    const { removals } = await client.images.remove([gone], {});
    expect(removals).toMatchObject([{ removed: true, needsForce: false, indexes: [], error: null }]);
    expect(await digests(root)).toEqual([signature.digest]);
  });
});
