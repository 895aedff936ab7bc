import { afterEach, describe, expect, test } from "vitest";
import { testClient } from "../../test/support/registry-client.js";
import { describeBytes, sourceOf, withCode } from "../../test/support/store-contract.js";
import { withoutReferrers } from "../../test/support/without-referrers.js";
import type { Descriptor } from "../oci/descriptor.js";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { WireHandler } from "../oci/wire.js";
import { createRegistry } from "../server/index.js";
import type { Repository } from "./repository.js";

const { ociManifest: mediaType, ociIndex, ociEmpty } = mediaTypes;
const empty = Buffer.from("{}");
const config = describeBytes(empty, ociEmpty);
const subject = { ...describeBytes(Buffer.from("subject"), mediaType), size: 7 };
const tag = subject.digest.replace(":", "-");

const later: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of later.splice(0).reverse()) await close();
});

/** A registry and as many clients of it as wanted, each in front of it in its own way. */
function open(wrap: (handle: WireHandler) => WireHandler) {
  const registry = createRegistry({ storage: "memory", sparse: true });
  later.push(() => registry.close());
  const requests: string[] = [];
  const handler = wrap(async (request) => {
    requests.push(`${request.method} ${new URL(request.url, "http://registry").pathname}`);
    return await registry.handle(request);
  });
  const connect = () => {
    const { client, warnings } = testClient("http://registry.invalid", { handler });
    later.push(() => client.close());
    return { repository: client.repository("a/b", { side: "destination" }), warnings };
  };
  return { connect, requests, registry };
}

/** Bytes of a manifest that refers to the subject. */
function noteBytes(name: string, fields: object = {}): Buffer {
  const annotations = { "org.opencontainers.image.title": name };
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [config], subject, annotations, ...fields }),
  );
}

async function put(repository: Repository, bytes: Uint8Array): Promise<Descriptor> {
  await repository.put(config, sourceOf(empty));
  const descriptor = describeBytes(bytes, mediaType);
  await repository.put(descriptor, sourceOf(bytes));
  return descriptor;
}

const listed = async (repository: Repository) =>
  (await repository.referrers(subject.digest)).map(({ digest }) => digest);

describe("a registry without the API of referrers", () => {
  test("has a manifest with a subject in its list, with type and annotations, once", async () => {
    const { repository } = open(withoutReferrers).connect();
    const artifactType = "application/vnd.example.note";
    const one = await put(repository, noteBytes("one", { artifactType }));
    const two = await put(repository, noteBytes("two"));
    await put(repository, noteBytes("one", { artifactType }));
    const annotations = (title: string) => ({ annotations: { "org.opencontainers.image.title": title } });
    expect(await repository.referrers(subject.digest)).toEqual([
      { ...one, artifactType, ...annotations("one") },
      // an image without a type of its own has its config's
      { ...two, artifactType: ociEmpty, ...annotations("two") },
    ]);
    expect((await repository.manifest(tag)).manifest).toMatchObject({ kind: "index", mediaType: ociIndex });
  });

  test.each(["knows", "does not know"])(
    "loses none of many that are pushed at once, where it %s conditions",
    async (word) => {
      const conditions = word === "knows";
      const { connect } = open((handle) => withoutReferrers(handle, { conditions }));
      // one client sends its own one after the other; only conditions help where several do
      const clients = Array.from({ length: conditions ? 4 : 1 }, () => connect().repository);
      const notes = Array.from({ length: 12 }, (_, index) => noteBytes(`note ${index}`));
      await Promise.all(notes.map((note, index) => put(clients[index % clients.length] as Repository, note)));
      expect((await listed(connect().repository)).sort()).toEqual(notes.map((note) => digestOf(note)).sort());
    },
  );

  test("has it in its list again where somebody has written over the list meanwhile", async () => {
    const other = { ...describeBytes(Buffer.from("other"), mediaType), size: 5 };
    let written = 0;
    const { connect } = open((handle) =>
      withoutReferrers(
        async (request) => {
          const answer = await handle(request);
          if (request.method === "PUT" && request.url.endsWith(`/manifests/${tag}`) && written++ === 0) {
            const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [other] }));
            await handle({ ...request, body, headers: { "content-type": ociIndex } });
          }
          return answer;
        },
        { conditions: false },
      ),
    );
    const { repository } = connect();
    const { digest } = await put(repository, noteBytes("one"));
    expect(await listed(repository)).toEqual([other.digest, digest]);
  });

  test("keeps what others have written into the list", async () => {
    const { repository } = open(withoutReferrers).connect();
    const first = await put(repository, noteBytes("one"));
    const annotations = { "com.example.kept": "yes" };
    const entry = { ...first, "x-field": 1 };
    const list = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [entry], annotations }),
    );
    await repository.putManifest(list, ociIndex, tag);
    const second = await put(repository, noteBytes("two"));
    const { bytes } = await repository.manifest(tag);
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({ annotations, manifests: [entry, second] });
  });

  test("keeps a tag that is no list as it is, and says so", async () => {
    const { repository } = open(withoutReferrers).connect();
    await repository.put(config, sourceOf(empty));
    const image = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [] }));
    await repository.putManifest(image, mediaType, tag);
    await expect(put(repository, noteBytes("one"))).rejects.toEqual(withCode("manifest-invalid"));
    expect((await repository.head(tag))?.digest).toBe(digestOf(image));
    expect(await repository.head(digestOf(noteBytes("one")))).not.toBeNull();
  });

  test("has it in its list after a run that ended before it was", async () => {
    const { connect, registry } = open(withoutReferrers);
    const bytes = noteBytes("one");
    const cut = testClient("http://registry.invalid", { handler: registry.handle });
    later.push(() => cut.client.close());
    // by the API, so that no list was written
    await put(cut.client.repository("a/b"), bytes);
    const { repository } = connect();
    expect(await listed(repository)).toEqual([]);
    await put(repository, bytes);
    expect(await listed(repository)).toEqual([digestOf(bytes)]);
  });

  test("has in its list no more what was deleted", async () => {
    const { repository } = open(withoutReferrers).connect();
    const [one, two] = [await put(repository, noteBytes("one")), await put(repository, noteBytes("two"))];
    await repository.deleteManifest(one.digest);
    expect(await listed(repository)).toEqual([two.digest]);
  });

  test("a list that can't be changed is a warning of the deletion, which is done", async () => {
    let locked = false;
    const { connect } = open((handle) => {
      const inner = withoutReferrers(handle);
      return async (request) =>
        locked && request.method === "PUT"
          ? { status: 403, headers: {}, body: (async function* () {})() }
          : await inner(request);
    });
    const { repository, warnings } = connect();
    const one = await put(repository, noteBytes("one"));
    locked = true;
    await repository.deleteManifest(one.digest);
    expect(await repository.head(one.digest)).toBeNull();
    expect(warnings).toHaveLength(1);
  });
});

describe("a registry with the API of referrers", () => {
  test("keeps its lists itself, and is asked nothing more", async () => {
    const { connect, requests } = open((handle) => handle);
    const { repository } = connect();
    const { digest } = await put(repository, noteBytes("one"));
    expect(requests.at(-1)).toBe(`PUT /v2/a/b/manifests/${digest}`);
    expect(await listed(repository)).toEqual([digest]);
    await repository.deleteManifest(digest);
    expect(requests.at(-1)).toBe(`DELETE /v2/a/b/manifests/${digest}`);
    expect(await listed(repository)).toEqual([]);
    expect(await repository.head(tag)).toBeNull();
  });

  test("is asked once where it does not say that it has listed a manifest", async () => {
    const { connect, requests } = open((handle) => async (request) => {
      const answer = await handle(request);
      const { "oci-subject": _subject, ...headers } = answer.headers;
      return { ...answer, headers };
    });
    const { repository } = connect();
    for (const name of ["one", "two"]) await put(repository, noteBytes(name));
    expect(requests.filter((request) => request.includes("/referrers/"))).toHaveLength(1);
    expect(await repository.head(tag)).toBeNull();
  });
});
