import { LadingError } from "../errors.js";
import { isRepositoryPath } from "../image/reference.js";
import { encodeRecord, type Records, readRecord, type Storage } from "./storage/storage.js";

/** What a registry removes of itself in some repositories, and what it never lets go. */
export interface RetentionPolicy {
  /** A path of whole components: the repository of this name and all below it. Empty for all. */
  readonly scope: string;
  /** Of the tags that no pattern keeps, so many that were moved last stay. Null keeps all. */
  readonly keepLast: number | null;
  /** Patterns of tags that stay whatever their age: `*` stands for anything, `?` for one character. */
  readonly keep: readonly string[];
  /** Manifests without a tag go after so many days. Null keeps those that never had one. */
  readonly untaggedDays: number | null;
  /** Patterns of tags that can neither be moved nor deleted. */
  readonly immutable: readonly string[];
}

const folder = "meta/policies";
/** The name of the one for all: no repository is called so. */
const everywhere = "_all";

const nameOf = (scope: string): string => (scope === "" ? everywhere : scope);

function isCount(value: unknown): boolean {
  return value === null || (typeof value === "number" && Number.isInteger(value) && value >= 0);
}

function isPatterns(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length <= 100 &&
    value.every((pattern) => typeof pattern === "string" && /^[\w.*?-]{1,128}$/.test(pattern))
  );
}

/** @throws LadingError `usage` */
export function checkedPolicy(policy: RetentionPolicy): RetentionPolicy {
  const { scope, keepLast, keep, untaggedDays, immutable } = policy;
  if (typeof scope !== "string" || (scope !== "" && !isRepositoryPath(scope))) {
    throw new LadingError("usage", `${JSON.stringify(scope)} is no repository, nor the beginning of any`);
  }
  if (!isCount(keepLast) || !isCount(untaggedDays)) {
    throw new LadingError("usage", "a policy's numbers are whole and not negative");
  }
  if (!isPatterns(keep) || !isPatterns(immutable)) {
    throw new LadingError("usage", "a policy's patterns are made of a tag's characters, * and ?");
  }
  return { scope, keepLast, keep, untaggedDays, immutable };
}

/** @throws LadingError `usage` */
export async function setPolicy(storage: Storage, policy: RetentionPolicy): Promise<RetentionPolicy> {
  const checked = checkedPolicy(policy);
  await storage.exclusive(folder, null, () => storage.put(folder, nameOf(checked.scope), encodeRecord(checked)));
  return checked;
}

/** False where there is none of exactly this scope. */
export async function removePolicy(storage: Storage, scope: string): Promise<boolean> {
  return await storage.exclusive(folder, null, () => storage.delete(folder, nameOf(scope)));
}

export async function listPolicies(storage: Storage): Promise<readonly RetentionPolicy[]> {
  const policies: RetentionPolicy[] = [];
  for (const name of await storage.list(folder, { after: null, limit: Number.POSITIVE_INFINITY })) {
    const policy = await readRecord<RetentionPolicy>(storage, folder, name);
    if (policy !== null) policies.push(policy);
  }
  return policies;
}

/** The policy of a repository: the one of the longest scope alone, or null. */
export async function retentionPolicyOf(storage: Records, repository: string): Promise<RetentionPolicy | null> {
  const parts = repository.split("/");
  for (let length = parts.length; length >= 0; length--) {
    const policy = await readRecord<RetentionPolicy>(storage, folder, nameOf(parts.slice(0, length).join("/")));
    if (policy !== null) return policy;
  }
  return null;
}

export function matchesAny(tag: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => matches(tag, pattern));
}

/** Without a regular expression: one of many stars could be made to run for ever. */
function matches(text: string, pattern: string): boolean {
  let [at, from, star, resume] = [0, 0, -1, 0];
  while (from < text.length) {
    const sign = pattern[at];
    if (sign === "*") {
      [star, resume] = [at++, from];
    } else if (sign === "?" || (sign !== undefined && sign === text[from])) {
      at++;
      from++;
    } else if (star >= 0) {
      at = star + 1;
      from = ++resume;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
