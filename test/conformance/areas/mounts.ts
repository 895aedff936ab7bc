import { expect } from "vitest";
import { digestOf } from "../../../src/oci/digest.js";
import type { Area } from "../area.js";

const missing = digestOf("nobody has this");

/** Blobs that another repository has already. */
export const mounts: Area = ({ registry, client, point }) => {
  for (const algorithm of ["sha256", "sha512"] as const) {
    point(
      ["mount-201", "mount-location", "Blob mount", "trap-3"],
      `a mount takes a blob along, by ${algorithm}`,
      async () => {
        const digest = digestOf("content", algorithm);
        await registry.send("POST", `/v2/a/blobs/uploads/?digest=${digest}`, "content");
        const answer = await registry.send("POST", `/v2/b/c/blobs/uploads/?mount=${digest}&from=a`, "");
        expect([answer.status, answer.location]).toEqual([201, `/v2/b/c/blobs/${digest}`]);
        expect(answer.headers["docker-content-digest"]).toBe(digest);
        expect((await registry.send("GET", answer.location)).text).toBe("content");
      },
    );
  }

  point(["mount-202", "trap-5"], "it becomes an upload where the source has it not", async () => {
    const { digest } = await client.pushBlob("a", "content");
    for (const query of [
      `mount=${missing}&from=a`,
      `mount=${missing}`,
      `mount=${digest}&from=z`,
      `mount=${digest}&from=..%2Fa`,
      `mount=${digest}&from=A`,
      `mount=${digest}&from=`,
      "mount=x&from=a",
    ]) {
      const answer = await registry.send("POST", `/v2/b/blobs/uploads/?${query}`, "");
      expect([query, answer.status]).toEqual([query, 202]);
      expect((await registry.send("DELETE", answer.location)).status).toBe(204);
    }
    const { location } = await registry.send("POST", `/v2/b/blobs/uploads/?mount=${missing}&from=a`, "");
    const put = await registry.send("PUT", `${location}?digest=${digestOf("other")}`, "other");
    expect(put.status).toBe(201);
  });

  point(["Blob anonymous mount", "mount-201"], "without a source, one is found", async () => {
    const image = await client.pushImage("a", "v1", "mount");
    const url = `/v2/b/blobs/uploads/?mount=${image.layer.digest}`;
    expect((await registry.send("POST", url, "")).status).toBe(201);
    expect((await registry.send("HEAD", `/v2/b/blobs/${image.layer.digest}`)).status).toBe(200);
  });

  point(["mount-202"], "unless that is switched off", async () => {
    await registry.remake({ automaticMount: false });
    const image = await client.pushImage("a", "v1", "mount");
    const url = `/v2/b/blobs/uploads/?mount=${image.layer.digest}`;
    expect((await registry.send("POST", url, "")).status).toBe(202);
    expect((await registry.send("HEAD", `/v2/b/blobs/${image.layer.digest}`)).status).toBe(404);
    expect((await registry.send("POST", `${url}&from=a`, "")).status).toBe(201);
  });

  point(["mount-202"], "or the source is not to be read by who asks", async () => {
    const hidden = new Set<string>();
    await registry.remake({
      authorize: async ({ repository }) =>
        hidden.has(repository ?? "")
          ? { allowed: false, status: 404, message: "there is no such repository" }
          : { allowed: true, principal: { subject: "bob" } },
    });
    const { layer } = await client.pushImage("private", "v1", "hidden");
    // a blob alone does: its repository is in no catalog yet
    const readable = await client.pushBlob("public", "readable");
    hidden.add("private");
    for (const from of ["&from=private", ""]) {
      const url = `/v2/b/blobs/uploads/?mount=${layer.digest}${from}`;
      expect((await registry.send("POST", url, "")).status).toBe(202);
      expect((await registry.send("HEAD", `/v2/b/blobs/${layer.digest}`)).status).toBe(404);
    }
    expect((await registry.send("HEAD", `/v2/private/blobs/${layer.digest}`)).status).toBe(404);
    const found = await registry.send("POST", `/v2/b/blobs/uploads/?mount=${readable.digest}`, "");
    expect(found.status).toBe(201);
  });
};
