import type { Digest } from "../oci/digest.js";
import type { Repository } from "../registry/repository.js";

/** Repositories offered for one mount at most: each one that the registry refuses costs a request. */
const candidatesPerBlob = 2;

/**
 * Which repositories of a registry were seen to hold which blobs, so that one may be mounted instead of sent. Kept
 * per credential: a tenant is offered only what it pushed or pulled itself.
 */
export class MountCandidates {
  readonly #seen = new Map<string, Map<Digest, Set<string>>>();

  /** @param credential A number that tells credentials apart. */
  note(repository: Repository, credential: number, digest: Digest): void {
    const key = `${repository.authority} ${credential}`;
    const blobs = this.#seen.get(key) ?? new Map<Digest, Set<string>>();
    this.#seen.set(key, blobs);
    const names = blobs.get(digest) ?? new Set<string>();
    blobs.set(digest, names);
    // Newest first, by taking it out and putting it back at the end.
    names.delete(repository.name);
    names.add(repository.name);
  }

  of(repository: Repository, credential: number, digest: Digest): readonly string[] {
    const names = this.#seen.get(`${repository.authority} ${credential}`)?.get(digest) ?? [];
    return [...names]
      .reverse()
      .filter((name) => name !== repository.name)
      .slice(0, candidatesPerBlob);
  }
}
