import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import { mediaTypes } from "../../../src/oci/media-types.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

/** Who refers to a manifest. */
export const referrers: Area = ({ registry, client, point }) => {
  const list = async (digest: string, query = "") => await registry.send("GET", `/v2/a/referrers/${digest}${query}`);
  const entries = async (digest: string, query = "") => (await list(digest, query)).json().manifests;

  point(
    ["referrers-200", "referrers-never-404", "referrers-none", "referrers-type", "referrers-400", "trap-11"],
    "of nothing they are an empty index",
    async () => {
      await client.pushImage("a", "v1", "there");
      for (const repository of ["a", "nowhere"]) {
        const answer = await registry.send("GET", `/v2/${repository}/referrers/${missing}`);
        const empty = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };
        expect([answer.status, answer.headers["content-type"], answer.json()]).toEqual([
          200,
          mediaTypes.ociIndex,
          empty,
        ]);
      }
      for (const bad of ["sha256:bad", "v1", "md5:d41d8cd98f00b204e9800998ecf8427e"]) {
        expect((await list(bad)).status).toBe(400);
      }
    },
  );

  point(
    [
      ...(["referrers-index", "referrers-artifact", "referrers-config", "referrers-typeless", "trap-11"] as const),
      ...(["referrers-annotations", "referrers-pages", "referrers-link", "referrers-filter"] as const),
      ...(["referrers-applied", "referrers-applied-list", "referrers-after", "subject-header"] as const),
      ...(["Referrers", "Manifest put with subject"] as const),
    ],
    "they are listed, filtered and paged, until they are deleted",
    async () => {
      const { ociManifest, ociIndex, ociConfig } = mediaTypes;
      const subject = (await client.pushImage("a", "v1", "subject")).descriptor;
      const type = "application/example.signature";
      const signature = await client.pushImage("a", null, "signature", {
        subject,
        artifactType: type,
        annotations: { key: "value", other: "" },
      });
      expect(signature.answer.headers["oci-subject"]).toBe(subject.digest);
      const plain = await client.pushImage("a", null, "plain", { subject });
      const index = JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [], subject });
      const put = await client.putManifest("a", digestOf(index), index, ociIndex);
      expect([put.status, put.headers["oci-subject"]]).toEqual([201, subject.digest]);
      const expected = [
        { ...signature.descriptor, artifactType: type, annotations: { key: "value", other: "" } },
        { ...plain.descriptor, artifactType: ociConfig },
        { mediaType: ociIndex, digest: digestOf(index), size: index.length },
      ].sort((a, b) => (a.digest < b.digest ? -1 : 1));
      const all = await list(subject.digest);
      expect(all.json()).toEqual({ schemaVersion: 2, mediaType: ociIndex, manifests: expected });
      expect(all.headers["oci-filters-applied"]).toBeUndefined();
      const filtered = await list(subject.digest, `?artifactType=${type}`);
      expect(filtered.headers["oci-filters-applied"]).toBe("artifactType");
      expect(filtered.json().manifests).toEqual(expected.filter((entry) => entry.digest === signature.digest));
      const none = await list(subject.digest, "?artifactType=application/x");
      expect([none.json().manifests, none.headers["oci-filters-applied"]]).toEqual([[], "artifactType"]);
      for (const n of [1, 2]) {
        const pages = await client.pages(`/v2/a/referrers/${subject.digest}?n=${n}`);
        expect(pages.flatMap((page) => page.json().manifests)).toEqual(expected);
        for (const page of pages) expect([page.json().mediaType, page.json().schemaVersion]).toEqual([ociIndex, 2]);
      }
      const filteredPages = await client.pages(`/v2/a/referrers/${subject.digest}?n=1&artifactType=${ociConfig}`);
      expect(filteredPages.flatMap((page) => page.json().manifests)).toEqual([
        { ...plain.descriptor, artifactType: ociConfig },
      ]);
      for (const page of filteredPages) expect(page.headers["oci-filters-applied"]).toBe("artifactType");
      await registry.send("DELETE", `/v2/a/manifests/${signature.digest}`);
      expect(await entries(subject.digest, `?artifactType=${type}`)).toEqual([]);
      expect(ociManifest).toBe(plain.descriptor.mediaType);
    },
  );

  point(
    ["subject-missing", "referrers-pages", "trap-10"],
    "they may come before their subject, and fill pages by bytes",
    async () => {
      await registry.remake({ limits: { referrersPage: 400 } });
      const subject = { mediaType: mediaTypes.ociManifest, digest: missing, size: 1 };
      const annotations = { pad: "x".repeat(150) };
      const digests: string[] = [];
      for (const salt of ["1", "2", "3"]) {
        const { digest, answer } = await client.pushImage("a", null, salt, { subject, annotations });
        expect(answer.headers["oci-subject"]).toBe(missing);
        digests.push(digest);
      }
      const pages = await client.pages(`/v2/a/referrers/${missing}`);
      const found = pages.map((page) => (page.json().manifests as { digest: string }[]).map(({ digest }) => digest));
      expect(found).toEqual([...digests].sort().map((digest) => [digest]));
    },
  );

  point(
    ["referrers-before", "referrers-after"],
    "what a fallback tag lists is there already, since it was pushed here",
    async () => {
      const subject = (await client.pushImage("a", "v1", "subject")).descriptor;
      const signature = await client.pushImage("a", null, "signature", { subject });
      const { ociIndex: mediaType } = mediaTypes;
      const fallback = JSON.stringify({ schemaVersion: 2, mediaType, manifests: [signature.descriptor] });
      const tag = subject.digest.replace(":", "-");
      expect((await client.putManifest("a", tag, fallback, mediaType)).status).toBe(201);
      const digests = (await entries(subject.digest)) as { digest: string }[];
      expect(digests.map(({ digest }) => digest)).toEqual([signature.digest]);
      expect((await registry.send("GET", `/v2/a/manifests/${tag}`)).text).toBe(fallback);
    },
  );
};
