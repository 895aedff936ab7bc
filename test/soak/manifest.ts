/** As much of a descriptor as the soak looks at. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A manifest or an index. */
export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

/** Which platform an engine takes here. */
export const enginePlatform = `linux/${process.arch === "arm64" ? "arm64" : "amd64"}`;

/** What an index is known by: its images. A layout that is saved has OCI's words for them, and another digest. */
export function indexIdOf(children: readonly { readonly id: string }[]): string {
  return `index of ${children.map(({ id }) => id.slice(7, 19)).join(" ")}`;
}

/** The ID of the image that an engine takes out of an index. */
export function engineIdOf(children: readonly { readonly id: string; readonly platform: string }[]): string {
  return children.find(({ platform }) => platform === enginePlatform)?.id ?? "none";
}
