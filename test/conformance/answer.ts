/** An answer of a registry, its body read whole. */
export class Answer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;

  constructor(status: number, headers: Readonly<Record<string, string>>, body: Buffer) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  get location(): string {
    return this.headers.location ?? "";
  }

  get text(): string {
    return this.body.toString();
  }

  json(): Record<string, unknown> {
    return JSON.parse(this.text) as Record<string, unknown>;
  }

  /** The code of the first error. */
  get code(): unknown {
    return (this.json().errors as { code: string }[])[0]?.code;
  }

  /** Where the next page is, or null. */
  get next(): string | null {
    return /^<([^>]*)>; rel="next"$/.exec(this.headers.link ?? "")?.[1] ?? null;
  }
}
