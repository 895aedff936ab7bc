import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

/** Tags, manifests and blobs that go. */
export const deleting: Area = ({ registry, client, point }) => {
  point(
    [
      "tag-delete-202",
      "manifest-delete-202",
      "manifest-delete-404",
      "Tag delete",
      "Tag delete atomic",
      "Manifest delete",
      "Manifest delete atomic",
    ],
    "a tag goes alone, a manifest with all its tags, both at once",
    async () => {
      const { digest } = await client.pushImage("a", "v1", "delete");
      const kept = await client.pushImage("a", "kept", "kept");
      for (const tag of ["v2", "v3"]) await client.pushImage("a", tag, "delete");
      expect((await registry.send("DELETE", "/v2/a/manifests/v3")).status).toBe(202);
      expect((await registry.send("GET", "/v2/a/manifests/v3")).status).toBe(404);
      expect((await registry.send("DELETE", "/v2/a/manifests/v3")).status).toBe(404);
      expect((await registry.send("GET", `/v2/a/manifests/${digest}`)).status).toBe(200);
      expect((await registry.send("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(202);
      expect((await registry.send("DELETE", `/v2/a/manifests/${digest}`)).status).toBe(404);
      for (const reference of ["v1", "v2", digest]) {
        expect((await registry.send("GET", `/v2/a/manifests/${reference}`)).status).toBe(404);
        expect((await registry.send("DELETE", `/v2/nowhere/manifests/${reference}`)).status).toBe(404);
      }
      expect((await registry.send("GET", "/v2/a/tags/list")).json()).toEqual({ name: "a", tags: ["kept"] });
      await registry.send("DELETE", `/v2/a/manifests/${kept.digest}`);
      expect((await registry.send("GET", "/v2/a/tags/list")).json()).toEqual({ name: "a", tags: [] });
      expect((await registry.send("GET", "/v2/_catalog")).json()).toEqual({ repositories: [] });
    },
  );

  point(
    ["blob-delete-202", "blob-delete-404", "Blob delete", "Blob delete atomic", "trap-7"],
    "a blob goes from its repository, at once",
    async () => {
      for (const algorithm of ["sha256", "sha512"] as const) {
        const digest = digestOf("content", algorithm);
        const push = async (repository: string) =>
          await registry.send("POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, "content");
        await push("a");
        await push("b");
        expect((await registry.send("DELETE", `/v2/a/blobs/${digest}`)).status).toBe(202);
        expect((await registry.send("HEAD", `/v2/a/blobs/${digest}`)).status).toBe(404);
        const again = await registry.send("DELETE", `/v2/a/blobs/${digest}`);
        expect([again.status, again.code]).toEqual([404, "BLOB_UNKNOWN"]);
        expect((await registry.send("GET", `/v2/b/blobs/${digest}`)).text).toBe("content");
        await push("a");
        expect((await registry.send("GET", `/v2/a/blobs/${digest}`)).text).toBe("content");
      }
      expect((await registry.send("DELETE", `/v2/a/blobs/${missing}`)).status).toBe(404);
      expect((await registry.send("DELETE", `/v2/nowhere/blobs/${missing}`)).status).toBe(404);
    },
  );

  point(
    ["tag-delete-off", "manifest-delete-off", "blob-delete-off"],
    "where deletion is switched off it is 405, and all stays",
    async () => {
      await registry.remake({
        authorize: async ({ action }) =>
          action === "delete"
            ? { allowed: false, status: 405, message: "nothing is deleted here" }
            : { allowed: true, principal: { subject: null } },
      });
      const image = await client.pushImage("a", "v1", "kept");
      for (const url of ["manifests/v1", `manifests/${image.digest}`, `blobs/${image.layer.digest}`]) {
        const answer = await registry.send("DELETE", `/v2/a/${url}`);
        expect([answer.status, answer.code]).toEqual([405, "UNSUPPORTED"]);
        expect((await registry.send("GET", `/v2/a/${url}`)).status).toBe(200);
      }
      // that is no deletion of anything that was finished
      expect((await registry.send("DELETE", await client.startUpload("a"))).status).toBe(204);
    },
  );
};
