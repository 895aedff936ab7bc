import type { WireResponse } from "../oci/wire.js";
import type { AddressKind } from "./address.js";
import type { Permit } from "./checked-lookup.js";
import type { Access } from "./credential.js";
import type { UrlRole } from "./url-gate.js";

/** The content of a request: bytes, or a function that opens the same stream each time it is called. */
export type CallBody = Uint8Array | (() => AsyncIterable<Uint8Array>);

/** One request on its way down the transport stack. */
export interface Call {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  /** Who named the URL: it decides what the gate lets through. */
  readonly role: UrlRole;
  /** The answer that redirected here. */
  readonly namer?: Answer | undefined;
  /** What the host may turn out to be, as the gate says. @default any */
  readonly permit?: Permit | undefined;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: CallBody | null | undefined;
  /** Null for requests that never carry credentials. */
  readonly access: Access | null;
  /** False for requests whose repetition the caller decides itself. @default true */
  readonly retry?: boolean | undefined;
  /** Asked before a repetition: an answer means that the lost request has done its work. */
  readonly confirm?: (() => Promise<Answer | null>) | undefined;
  /** How long the answer may take once the request is sent, in ms. @default the idle timeout */
  readonly patience?: number | undefined;
  /** The answer is expected to be large: worth a connection of its own. @default false */
  readonly bulk?: boolean | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface Answer extends WireResponse {
  /** Where it came from in the end, after redirects. */
  readonly url: URL;
  /** What it was connected to; absent in this process and behind a proxy, where nobody can tell. */
  readonly addressKind?: AddressKind | undefined;
}

export type Send = (call: Call) => Promise<Answer>;
