import { type ProcessIdentity, parseIdentity } from "../content/process-identity.js";
import type { Digest } from "../oci/digest.js";
import type { Session } from "./upload-session.js";

/** Which upload it is. Another credential's is another one. */
export interface UploadKey {
  /** The registry's origin, as it is dialled. */
  readonly registry: string;
  readonly repository: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Who asks, as {@link Authenticator.identity} says it; never a secret. */
  readonly identity: string;
}

/** What is kept of an upload from one run to the next. */
export interface UploadRecord extends UploadKey {
  /** The process that is at it; null where it was left. */
  readonly owner: ProcessIdentity | null;
  /** Null before the registry has given one. Its `offset` is what was sent: what has arrived, only the registry knows. */
  readonly session: Session | null;
}

/** Reads a record; null for one of another upload, and for anything else. */
export function parseUploadRecord(bytes: Uint8Array, key: UploadKey): UploadRecord | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    if (typeof value !== "object" || value === null) return null;
    const fields = value as Readonly<Record<string, unknown>>;
    if (!Object.entries(key).every(([name, expected]) => fields[name] === expected)) return null;
    return { ...key, owner: parseIdentity(fields.owner), session: parseSession(fields.session) };
  } catch {
    return null;
  }
}

function parseSession(value: unknown): Session | null {
  if (typeof value !== "object" || value === null) return null;
  const { location, offset, minimum } = value as Readonly<Record<string, unknown>>;
  if (typeof location !== "string" || !isCount(offset) || !isCount(minimum)) return null;
  return { location: new URL(location), offset, minimum };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
