import { LayoutStore } from "../../src/content/layout.js";
import type { ContentSource } from "../../src/content/store.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { testClient } from "../support/registry-client.js";
import { validateImage } from "../support/validate-image.js";
import { tagMap } from "./tag-map.js";

/** N2: the tags of a store's folder or of a repository (`http://host/owner/name`) whose image is not whole, and why. */
export async function brokenImages(place: string): Promise<readonly string[]> {
  const broken: string[] = [];
  const validate = async (source: ContentSource, name: string, find: () => Promise<Descriptor | null>) => {
    try {
      const root = await find();
      if (root === null) throw new Error("nothing is there");
      await validateImage(source, root);
    } catch (error) {
      broken.push(`${name}: ${String(error)}`);
    }
  };
  const names = Object.keys(await tagMap(place));
  if (!/^https?:\/\//.test(place)) {
    // The blobs alone: a look must not put a damaged one aside.
    const store = new LayoutStore(place, { durability: "fast" });
    for (const name of names) await validate(store.blobs, name, () => store.resolve(name));
    return broken;
  }
  const url = new URL(place);
  const { client } = testClient(url.origin);
  try {
    const repository = client.repository(url.pathname.slice(1));
    for (const name of names) await validate(repository, name, () => repository.head(name));
  } finally {
    client.close();
  }
  return broken;
}
