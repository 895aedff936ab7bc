import type { DigestAlgorithm } from "../oci/digest.js";
import type { RegistryLimits } from "./context.js";
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
  readonly #mostOfAccount: number;
  /** The repository of each upload of an account. Some may have ended: that is looked at before one is refused. */
  readonly #ofAccount = new Map<string, Map<string, string>>();
  /** Those that are admitted, and not in the storage yet. */
  readonly #beginning = new Set<string>();
  #counted: Promise<void> | null = null;

  constructor(
    storage: Storage,
    now: () => number,
    { uploadIdle, uploadsOfAccount }: Pick<RegistryLimits, "uploadIdle" | "uploadsOfAccount">,
  ) {
    this.#storage = storage;
    this.#now = now;
    this.#idle = uploadIdle;
    this.#mostOfAccount = uploadsOfAccount;
  }

  /** @throws Fault where the account has too many */
  async create(
    repository: string,
    id: string,
    subject: string | null,
    algorithm: DigestAlgorithm,
  ): Promise<UploadSession> {
    if (subject !== null) await this.#admit(repository, id, subject);
    const upload = await this.#storage
      .createUpload(repository, id, subject)
      .catch((error: unknown) => {
        if (subject !== null) this.#ofAccount.get(subject)?.delete(id);
        throw error;
      })
      .finally(() => this.#beginning.delete(id));
    const session = new UploadSession(repository, id, upload, algorithm);
    this.#sessions.set(id, session);
    return session;
  }

  async #admit(repository: string, id: string, subject: string): Promise<void> {
    this.#counted ??= this.#count().catch((error: unknown) => {
      this.#counted = null;
      throw error;
    });
    await this.#counted;
    const open = this.#ofAccount.get(subject) ?? new Map<string, string>();
    this.#ofAccount.set(subject, open);
    if (open.size >= this.#mostOfAccount) {
      const oldest = this.#now() - this.#idle;
      for (const [one, where] of [...open]) {
        if (this.#beginning.has(one)) continue;
        const upload = await this.#storage.openUpload(where, one);
        if (upload === null || upload.touched < oldest) open.delete(one);
      }
    }
    if (open.size >= this.#mostOfAccount) {
      throw new Fault(429, "TOOMANYREQUESTS", `the account has ${open.size} open uploads, and may have no more`, {
        headers: { "retry-after": "60" },
      });
    }
    this.#beginning.add(id);
    open.set(id, repository);
  }

  /** Those that a process before this one has left. */
  async #count(): Promise<void> {
    for await (const { repository, id, subject } of this.#storage.uploads()) {
      if (subject === null) continue;
      const open = this.#ofAccount.get(subject) ?? new Map<string, string>();
      this.#ofAccount.set(subject, open.set(id, repository));
    }
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
    if (session.subject !== null) this.#ofAccount.get(session.subject)?.delete(session.id);
  }

  /** Forgets what has been idle for too long; the storage removes it. */
  sweep(): void {
    for (const session of this.#sessions.values()) {
      if (session.touched < this.#now() - this.#idle) this.forget(session);
    }
  }
}
