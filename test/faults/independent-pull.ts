import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { findProgram, output } from "../support/programs.js";

/** An image where somebody else's tool is to find it. */
export type PulledImage = { readonly digest: string } & (
  | {
      /** `127.0.0.1:PORT/owner/name:tag`, over plain http. */
      readonly reference: string;
    }
  | {
      /** The folder of a store, which is an OCI layout. */
      readonly store: string;
      /** As `index.json` names it. */
      readonly name: string;
    }
);

/**
 * N9: skopeo (else crane, for registries) reads the whole image and finds the digest.
 * @returns Null, or why that could not be done here.
 */
export async function independentPull(image: PulledImage): Promise<string | null> {
  if (findProgram("skopeo") !== null) {
    const from =
      "reference" in image
        ? ["--src-tls-verify=false", `docker://${image.reference}`]
        : [`oci:${image.store}:${image.name}`];
    const folder = await mkdtemp(join(tmpdir(), "lading-n9-"));
    try {
      // It compares the digest of every blob while it copies, and keeps the manifest's bytes.
      const args = ["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests", ...from];
      await output("skopeo", [...args, `dir:${join(folder, "copy")}`]);
      const manifest = await readFile(join(folder, "copy", "manifest.json"));
      expect(`sha256:${createHash("sha256").update(manifest).digest("hex")}`, "N9: skopeo's digest").toBe(image.digest);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    return null;
  }
  if (findProgram("crane") !== null && "reference" in image) {
    await output("crane", ["validate", "--insecure", "--remote", image.reference]);
    expect(await output("crane", ["digest", "--insecure", image.reference]), "N9: crane's digest").toBe(image.digest);
    return null;
  }
  return "no independent tool is here (skopeo, crane)";
}
