import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** `lading_` lets scanners of secrets find it; then the id, and 256 random bits. */
const form = /^lading_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;

export interface MadeKey {
  readonly id: string;
  /** The whole key, which is shown once and kept nowhere. */
  readonly key: string;
  readonly hash: string;
}

export function makeKey(): MadeKey {
  const id = randomBytes(8).toString("hex");
  const key = `lading_${id}_${randomBytes(32).toString("base64url")}`;
  return { id, key, hash: hashKey(key) };
}

/** The id of what looks like a key, or null. */
export function keyId(text: string): string | null {
  return form.exec(text)?.[1] ?? null;
}

/** A key is random enough to need no slow hash. */
export function hashKey(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** Compares hashes, so that the time says nothing of what was right. */
export function isSameKey(key: string, hash: string): boolean {
  const given = Buffer.from(hashKey(key), "hex");
  const kept = Buffer.from(hash, "hex");
  return given.length === kept.length && timingSafeEqual(given, kept);
}
