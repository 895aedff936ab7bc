import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Digests by tag. */
export type TagMap = Readonly<Record<string, string>>;

const nameAnnotation = "org.opencontainers.image.ref.name";
export const manifestTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
].join(", ");

/**
 * The tags of a place, read with none of our code: of a store's folder from its `index.json`, of a repository (`http://host/owner/name`)
 * by asking for each.
 */
export async function tagMap(place: string): Promise<TagMap> {
  return /^https?:\/\//.test(place) ? await repositoryTags(new URL(place)) : await layoutTags(place);
}

async function layoutTags(folder: string): Promise<TagMap> {
  const text = await readFile(join(folder, "index.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return '{"manifests":[]}';
    throw error;
  });
  const { manifests } = JSON.parse(text) as {
    readonly manifests: readonly { readonly digest: string; readonly annotations?: Readonly<Record<string, string>> }[];
  };
  return Object.fromEntries(
    manifests.flatMap(({ digest, annotations }) => {
      const name = annotations?.[nameAnnotation];
      return name === undefined ? [] : [[name, digest]];
    }),
  );
}

async function repositoryTags({ origin, pathname }: URL): Promise<TagMap> {
  const response = await fetch(`${origin}/v2${pathname}/tags/list`);
  if (response.status === 404) return {};
  const { tags } = (await response.json()) as { readonly tags: readonly string[] | null };
  const map: Record<string, string> = {};
  for (const tag of tags ?? []) {
    const answer = await fetch(`${origin}/v2${pathname}/manifests/${tag}`, {
      method: "HEAD",
      headers: { accept: manifestTypes },
    });
    map[tag] = answer.headers.get("docker-content-digest") ?? `status ${answer.status}`;
  }
  return map;
}
