import type { DigestAlgorithm } from "../oci/digest.js";
import { Fault } from "./fault.js";
import type { Storage } from "./storage/storage.js";
import { UploadSession } from "./upload-session.js";

export function uploadUnknown(): Fault {
  return new Fault(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload");
}

/** The uploads that this process knows. */
export class UploadSessions {
  readonly #sessions = new Map<string, UploadSession>();
  readonly #storage: Storage;
  readonly #now: () => number;
  /** ms */
  readonly #idle: number;

  constructor(storage: Storage, now: () => number, idle: number) {
    this.#storage = storage;
    this.#now = now;
    this.#idle = idle;
  }

  async create(
    repository: string,
    id: string,
    subject: string | null,
    algorithm: DigestAlgorithm,
  ): Promise<UploadSession> {
    const upload = await this.#storage.createUpload(repository, id, subject);
    const session = new UploadSession(repository, id, upload, algorithm);
    this.#sessions.set(id, session);
    return session;
  }

  /** The session, found by its repository and owner as well as its id (CVE-2026-32589). @throws Fault */
  async find(repository: string, id: string, subject: string | null): Promise<UploadSession> {
    const known = this.#sessions.get(id);
    const session = known ?? (await this.#reopen(repository, id));
    const expired = session !== null && session.touched < this.#now() - this.#idle;
    if (expired) this.#sessions.delete(id);
    if (session === null || expired || session.repository !== repository || session.subject !== subject) {
      throw uploadUnknown();
    }
    return session;
  }

  async #reopen(repository: string, id: string): Promise<UploadSession | null> {
    const upload = await this.#storage.openUpload(repository, id);
    if (upload === null) return null;
    // another request may have been faster
    const session = this.#sessions.get(id) ?? new UploadSession(repository, id, upload, "sha256");
    this.#sessions.set(id, session);
    return session;
  }

  /** To be called once a session is committed or removed. */
  forget(session: UploadSession): void {
    this.#sessions.delete(session.id);
  }

  /** Forgets what has been idle for too long; the storage removes it. */
  sweep(): void {
    for (const session of this.#sessions.values()) {
      if (session.touched < this.#now() - this.#idle) this.forget(session);
    }
  }
}
