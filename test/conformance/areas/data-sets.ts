import { expect } from "vitest";
import { digestAlgorithm } from "../../../src/oci/digest.js";
import type { Area } from "../area.js";
import { buildDataSet } from "../data-sets.js";
import { dataSetNames } from "../official-suite.js";

/** Each set of data goes all the way: pushed, listed, looked for, pulled, referred to, deleted. */
export const dataSets: Area = ({ registry, client, point }) => {
  for (const name of dataSetNames) {
    point([name], `the set ${name}`, async () => {
      const set = buildDataSet(name);
      if (set.sparse) await registry.remake({ sparse: true });
      const at = (path: string) => `/v2/data/set/${path}`;
      for (const [digest, content] of set.blobs) {
        expect((await registry.send("POST", at(`blobs/uploads/?digest=${digest}`), content)).status).toBe(201);
      }
      for (const { descriptor, bytes, tags, byParameters, referrer } of set.manifests) {
        const { digest, mediaType } = descriptor;
        const targets = byParameters ? [`${digest}?tag=${tags.join("&tag=")}`] : [...tags, digest];
        for (const target of targets) {
          const put = await client.putManifest("data/set", target, bytes, mediaType);
          expect([target, put.status]).toEqual([target, set.status]);
          if (set.status !== 201) continue;
          expect(put.headers["docker-content-digest"]).toBe(digest);
          expect(put.headers["oci-tag"]).toBe(byParameters ? tags.join(", ") : undefined);
          expect(put.headers["oci-subject"]).toBe(referrer?.subject);
          expect((await registry.send("GET", put.location)).text).toBe(bytes);
        }
      }
      if (set.status !== 201) {
        for (const { descriptor } of set.manifests) {
          expect((await registry.send("GET", at(`manifests/${descriptor.digest}`))).status).toBe(404);
        }
        return;
      }
      const tags = set.manifests.flatMap((manifest) => manifest.tags).sort();
      expect((await registry.send("GET", at("tags/list"))).json()).toEqual({ name: "data/set", tags });
      for (const { descriptor, bytes, tags: own } of set.manifests) {
        for (const reference of [descriptor.digest, ...own]) {
          const head = await registry.send("HEAD", at(`manifests/${reference}`));
          expect([head.status, head.headers["content-length"]]).toEqual([200, String(descriptor.size)]);
          const got = await registry.send("GET", at(`manifests/${reference}`));
          expect([got.text, got.headers["content-type"]]).toEqual([bytes, descriptor.mediaType]);
          expect(got.headers["docker-content-digest"]).toBe(descriptor.digest);
        }
      }
      for (const [digest, content] of set.blobs) {
        const got = await registry.send("GET", at(`blobs/${digest}`));
        expect([got.status, got.text, digestAlgorithm(digest)]).toEqual([200, content, digest.slice(0, 6)]);
      }
      const referrers = set.manifests.flatMap(({ referrer }) => (referrer === null ? [] : [referrer]));
      for (const subject of new Set(referrers.map((referrer) => referrer.subject))) {
        const expected = referrers.filter((one) => one.subject === subject).map((one) => one.descriptor);
        const listed = (await registry.send("GET", at(`referrers/${subject}`))).json().manifests as {
          digest: string;
        }[];
        const byDigest = (a: { digest: string }, b: { digest: string }) => (a.digest < b.digest ? -1 : 1);
        expect([...listed].sort(byDigest)).toEqual([...expected].sort(byDigest));
      }
      for (const { descriptor } of set.manifests.toReversed()) {
        expect((await registry.send("DELETE", at(`manifests/${descriptor.digest}`))).status).toBe(202);
      }
      for (const digest of set.blobs.keys()) {
        expect((await registry.send("DELETE", at(`blobs/${digest}`))).status).toBe(202);
      }
      for (const { subject } of referrers) {
        expect((await registry.send("GET", at(`referrers/${subject}`))).json().manifests).toEqual([]);
      }
      // nothing is left that would make it a repository
      expect((await registry.send("GET", at("tags/list"))).status).toBe(404);
    });
  }
};
