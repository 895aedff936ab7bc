import type { PutOptions } from "../content/store.js";
import { isLadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Endpoint } from "./endpoint.js";
import { isTransient } from "./retry.js";
import type { UploadClaim, UploadEntry } from "./upload-journal.js";
import type { UploadKey } from "./upload-record.js";
import type { Session } from "./upload-session.js";

/** From this size on an upload is kept for the next run: what is smaller is sent as fast as it is asked about. */
const keptSize = 16 * 1024 * 1024;
/** How often it is looked whether somebody else has finished, in ms. */
const lookEvery = 250;
/** From how long a wait for somebody else is worth a word, in ms. */
const notable = 1_000;

/** One upload as the journal knows it, if there is a journal and the blob is worth it. */
export class KeptUpload {
  readonly #endpoint: Endpoint;
  readonly #descriptor: Descriptor;
  readonly #options: PutOptions;
  readonly #isKept: boolean;
  #identity = "";
  #entry: UploadEntry | null = null;

  constructor(endpoint: Endpoint, descriptor: Descriptor, options: PutOptions) {
    this.#endpoint = endpoint;
    this.#descriptor = descriptor;
    this.#options = options;
    this.#isKept = endpoint.uploads !== null && descriptor.size >= keptSize;
  }

  /** Whether the next run can go on with it. */
  get isHeld(): boolean {
    return this.#entry !== null;
  }

  /**
   * Takes the upload over. While somebody else is at it, waits.
   * @returns Where an earlier run left off, or null; `waited` where somebody else was at it, and may have finished.
   */
  async begin(): Promise<{ readonly session: Session | null; readonly waited: boolean }> {
    if (!this.#isKept) return { session: null, waited: false };
    const { clock, authority, onWarning } = this.#endpoint;
    const { signal, onBytes } = this.#options;
    this.#identity = await this.#endpoint.identity(signal);
    for (let waited = 0; ; waited += lookEvery) {
      const claim = await this.#claim();
      if (claim.kind !== "busy") return { session: claim.kind === "own" ? claim.session : null, waited: waited > 0 };
      if (waited === notable) {
        onWarning(`waiting for process ${claim.pid}, which sends ${this.#descriptor.digest} to ${authority}`);
      }
      onBytes?.(Math.min(claim.offset, this.#descriptor.size));
      await clock.sleep(lookEvery, signal);
    }
  }

  /**
   * A session was begun. Only by now a registry may have asked who we are.
   * @returns Where an earlier run of the same user left off, or null.
   */
  async started(session: Session): Promise<Session | null> {
    if (!this.#isKept) return null;
    const identity = await this.#endpoint.identity(this.#options.signal);
    if (identity !== this.#identity) {
      await this.#entry?.remove();
      this.#entry = null;
      this.#identity = identity;
      const claim = await this.#claim();
      if (claim.kind === "own" && claim.session !== null) return claim.session;
    }
    await this.#entry?.note(session);
    return null;
  }

  /** The session is at another place or offset now. */
  async moved(session: Session): Promise<void> {
    await this.#entry?.note(session);
  }

  /** The blob was found there: a run that was killed just before its end may have left a record. */
  async found(): Promise<void> {
    const { uploads } = this.#endpoint;
    if (!this.#isKept || uploads === null) return;
    this.#identity = await this.#endpoint.identity(this.#options.signal);
    await (await uploads()).drop(this.#key());
  }

  reached(position: number): void {
    this.#entry?.reached(position);
  }

  /** The blob is there, or its session is of no use to anybody. */
  async forget(): Promise<void> {
    await this.#entry?.remove();
  }

  /** Leaves the session to the next run. */
  async leave(): Promise<void> {
    await this.#entry?.release();
  }

  /** Whether what ended the upload leaves it as something to go on with. */
  isWorthKeeping(error: unknown): boolean {
    if (this.#entry === null) return false;
    const { signal } = this.#options;
    const reason: unknown = signal?.aborted ? signal.reason : error;
    if (signal?.aborted && !(isLadingError(reason) && reason.side === "destination")) return true;
    return isTransient(reason) || (isLadingError(reason) && keepingCodes.has(reason.code));
  }

  async #claim(): Promise<UploadClaim> {
    const { uploads } = this.#endpoint;
    if (uploads === null) return { kind: "none" };
    const claim = await (await uploads()).claim(this.#key());
    if (claim.kind === "own") this.#entry = claim.entry;
    return claim;
  }

  #key(): UploadKey {
    const { registry, name } = this.#endpoint;
    const { digest, size } = this.#descriptor;
    return { registry: registry.origin, repository: name, digest, size, identity: this.#identity };
  }
}

/** What a registry or a caller may think better of. */
const keepingCodes: ReadonlySet<string> = new Set(["cancelled", "closed", "rate-limited", "timeout", "unreachable"]);
