import { isLadingError, LadingError, type Side } from "../errors.js";
import type { FetchCredentials, RepositoryAction } from "../oci/credential.js";
import type { Digest } from "../oci/digest.js";
import type { LimitName } from "../oci/limits.js";
import type { BlobSharing } from "./blob-sharing.js";
import { discard, readBody } from "./body.js";
import type { Answer, Call, Send } from "./call.js";
import type { Clock } from "./clock.js";
import type { Access } from "./credential.js";
import type { HostPauses } from "./host-pauses.js";
import type { RateBudgets } from "./rate-budget.js";
import { registryError } from "./registry-error.js";
import { backOff, isTransient, retryPolicy } from "./retry.js";
import type { Transport } from "./transport.js";
import type { UploadJournal } from "./upload-journal.js";

/** A request to one repository, as the files of this room make them. */
export interface EndpointRequest {
  readonly method: Call["method"];
  readonly url: URL;
  readonly actions: readonly RepositoryAction[];
  /** Statuses that the caller understands; all others become errors. */
  readonly expect: readonly number[];
  /** What is being done, as the beginning of a sentence. */
  readonly doing: string;
  /** What a not-found means here, as a sentence. */
  readonly missing?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: Call["body"];
  readonly role?: Call["role"] | undefined;
  readonly digest?: Digest | undefined;
  readonly mountFrom?: string | undefined;
  readonly catalog?: boolean | undefined;
  readonly retry?: boolean | undefined;
  readonly confirm?: Call["confirm"];
  readonly patience?: number | undefined;
  readonly bulk?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface EndpointOptions {
  /** The registry as people know it. */
  readonly authority: string;
  /** The registry as it is dialled. */
  readonly registry: URL;
  /** Null for the registry itself. */
  readonly repository: string | null;
  readonly side: Side | null;
  readonly fetchCredentials: FetchCredentials;
  readonly send: Send;
  /** Null for a registry that has a wire alone. */
  readonly sharing: BlobSharing | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly pauses: HostPauses;
  readonly budgets: RateBudgets;
  readonly identity: Transport["identity"];
  /** Null where uploads are not kept. */
  readonly uploads: (() => Promise<UploadJournal>) | null;
  readonly onWarning: (text: string) => void;
}

/** Whole components only, so that no name leads out of its place in a URL; the full grammar is the parser's. */
const component = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/;

function isName(text: string): boolean {
  return text.length <= 255 && text.split("/").every((part) => component.test(part));
}

/** One repository at one registry for one credential source: makes requests, turns what goes wrong into errors with a side. */
export class Endpoint {
  readonly authority: string;
  readonly registry: URL;
  readonly side: Side | null;
  readonly sharing: BlobSharing | null;
  readonly clock: Clock;
  readonly random: () => number;
  readonly uploads: (() => Promise<UploadJournal>) | null;
  readonly onWarning: (text: string) => void;
  readonly #identity: Transport["identity"];
  readonly #pauses: HostPauses;
  readonly #budgets: RateBudgets;
  readonly #repository: string | null;
  readonly #fetchCredentials: FetchCredentials;
  readonly #send: Send;

  /** @throws LadingError `bad-reference` */
  constructor(options: EndpointOptions) {
    const { repository } = options;
    if (repository !== null && !isName(repository)) {
      throw new LadingError("bad-reference", `${JSON.stringify(repository)} is not the name of a repository`);
    }
    this.authority = options.authority;
    this.registry = options.registry;
    this.#repository = repository;
    this.side = options.side;
    this.sharing = options.sharing;
    this.clock = options.clock;
    this.random = options.random;
    this.uploads = options.uploads;
    this.onWarning = options.onWarning;
    this.#identity = options.identity;
    this.#pauses = options.pauses;
    this.#budgets = options.budgets;
    this.#fetchCredentials = options.fetchCredentials;
    this.#send = options.send;
  }

  /** The repository's name; empty for the registry itself. */
  get name(): string {
    return this.#repository ?? "";
  }

  /** A URL below `/v2/<name>/`. */
  url(path: string): URL {
    return new URL(`/v2/${this.#repository === null ? "" : `${this.#repository}/`}${path}`, this.registry);
  }

  /** What reading needs: a destination asks for the right to write at once, so that one token serves both. */
  get readActions(): readonly RepositoryAction[] {
    return this.side === "destination" ? ["pull", "push"] : ["pull"];
  }

  /** @throws LadingError by the table of codes, with this end's side */
  async send(request: EndpointRequest): Promise<Answer> {
    const { method, url, actions, signal, digest, mountFrom, catalog } = request;
    const details = { side: this.side, ...(digest === undefined ? {} : { digest }) };
    const access = { ...this.#access(actions), mountFrom, catalog };
    const call: Call = {
      method,
      url,
      role: request.role ?? "registry",
      headers: { "accept-encoding": "identity", ...request.headers },
      body: request.body,
      access,
      retry: request.retry,
      confirm: request.confirm,
      patience: request.patience,
      bulk: request.bulk,
      signal,
    };
    let answer: Answer;
    try {
      answer = await this.#send(call);
    } catch (error) {
      throw this.sided(error, digest);
    }
    if (!request.expect.includes(answer.status)) {
      throw await registryError(call, answer, request.doing, this.authority, {
        ...details,
        missing: request.missing,
        now: this.clock.now(),
        budget: this.#budgets.of(url.host),
      });
    }
    return answer;
  }

  /** The same for requests whose answer is its status alone. */
  async sendOnly(request: EndpointRequest): Promise<Answer> {
    const answer = await this.send(request);
    await discard(answer);
    return answer;
  }

  /**
   * The same for a document that is read whole; one whose connection breaks is asked for again.
   * @param limit The name of the limit that it has to keep to.
   */
  async read(
    request: EndpointRequest,
    limit: LimitName,
  ): Promise<{ readonly answer: Answer; readonly bytes: Uint8Array }> {
    for (let attempt = 0; ; attempt += 1) {
      const answer = await this.send(request);
      await this.refuseEncoding(answer);
      try {
        return { answer, bytes: await readBody(answer, limit, `the answer to ${request.doing}`) };
      } catch (error) {
        if (attempt === retryPolicy.tries - 1 || !isTransient(error)) throw this.sided(error, request.digest);
        await this.pause(request.url, backOff(attempt, this.random), request.signal);
      }
    }
  }

  /** Who writes here, as far as the registry has asked: see {@link Authenticator.identity}. */
  async identity(signal: AbortSignal | undefined): Promise<string> {
    return await this.#identity(this.#access(["pull", "push"]), signal);
  }

  #access(actions: readonly RepositoryAction[]): Access {
    return { fetchCredentials: this.#fetchCredentials, repository: this.#repository, actions, side: this.side };
  }

  /** Leaves a host alone for some ms, and all other requests of this client to it too. */
  async pause({ host }: URL, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    this.#pauses.pause(host, milliseconds);
    await this.#pauses.wait(host, signal);
  }

  /** An error with this end's side, where it has none yet. */
  sided(error: unknown, digest?: Digest): unknown {
    return isLadingError(error) ? error.with({ side: this.side, digest }) : error;
  }

  /** @throws LadingError `unsupported` for an answer whose content somebody has encoded (CVE-2026-22036) */
  async refuseEncoding(answer: Answer): Promise<void> {
    const encoding = answer.headers["content-encoding"];
    if (encoding === undefined || encoding.toLowerCase() === "identity" || encoding === "") return;
    await answer.body[Symbol.asyncIterator]().return?.();
    throw new LadingError("unsupported", `${this.authority} sends content in an encoding that was not asked for`, {
      side: this.side,
    });
  }
}
