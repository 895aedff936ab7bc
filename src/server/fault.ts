import type { RegistryErrorCode } from "../oci/error-codes.js";

/** A request that is answered with an error of the distribution specification. Its message goes over the wire. */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly status: number;
  readonly code: RegistryErrorCode;
  readonly detail: unknown;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: RegistryErrorCode,
    message: string,
    more: { readonly detail?: unknown; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.detail = more.detail;
    this.headers = more.headers ?? {};
  }
}
