import { errnoOf } from "../content/file-system.js";
import { ioError } from "../errors.js";
import type { BackupReport } from "./backup.js";
import { type CheckOptions, type CheckReport, check } from "./check.js";
import { collect, lastCollected } from "./collect.js";
import type { CollectOptions, CollectReport } from "./collect-report.js";
import type { Context } from "./context.js";
import type { Quota } from "./quotas.js";
import { listPolicies, type RetentionPolicy, removePolicy, setPolicy } from "./retention-policy.js";
import { lastScrubbed, type ScrubOptions, type ScrubReport, scrub } from "./scrub.js";

/**
 * What the operator of a registry does with it, while it serves or not.
 * @throws LadingError `io`, `no-space`, each of them
 */
export interface Upkeep {
  /**
   * Removes what nothing names any more.
   * @throws LadingError `conflict` where a collection or a backup runs, `cancelled`
   */
  collect(options?: CollectOptions): Promise<CollectReport>;
  /** When a collection last came to its end, ms since the epoch; null where none did. */
  lastCollected(): Promise<number | null>;
  /** Looks whether all is there, and is what it is called. */
  check(options?: CheckOptions): Promise<CheckReport>;
  /**
   * Reads every blob, and takes out of reach those that are not what their digest says. One that was broken off goes on.
   * @throws LadingError `cancelled`, `io`
   */
  scrub(options?: ScrubOptions): Promise<ScrubReport>;
  /**
   * When a scrub, or a check with `quarantine`, last came to its end, in ms since the epoch; for a registry that knows of
   * none, when this was first asked.
   */
  lastScrubbed(): Promise<number>;
  /**
   * Copies the registry, which may be serving, to a new folder or a new `.tar`.
   * @throws LadingError `conflict` where the target is there, or a collection runs; `io`, `no-space`
   */
  backup(path: string, options?: { readonly signal?: AbortSignal | null | undefined }): Promise<BackupReport>;
  policies(): Promise<readonly RetentionPolicy[]>;
  /** Puts a policy in the place of the one of the same scope. @throws LadingError `usage` */
  setPolicy(policy: RetentionPolicy): Promise<RetentionPolicy>;
  /** False where there is none of exactly this scope. */
  removePolicy(scope: string): Promise<boolean>;
  /** Every owner, with what they hold. */
  quotas(): Promise<readonly Quota[]>;
  /** @param bytes The most that the owner's repositories may hold. @throws LadingError `usage` */
  setQuota(owner: string, bytes: number): Promise<Quota>;
  /** False where there was none. */
  removeQuota(owner: string): Promise<boolean>;
}

/** @param track Has the registry's closing wait for a task. */
export function createUpkeep(context: Context, track: <T>(task: Promise<T>) => Promise<T>): Upkeep {
  const { storage, quotas } = context;
  const opened = async <T>(write: boolean, task: () => Promise<T>): Promise<T> => {
    try {
      await storage.open({ write });
      return await task();
    } catch (error) {
      const hint = "see that this user may write to the registry's folder, and that there is room on its disk";
      const ofSystem = /^E[A-Z0-9]+$/.test(String(errnoOf(error)));
      throw ofSystem ? ioError(error, "looking after the registry", { hint }) : error;
    }
  };
  const writing = <T>(task: () => Promise<T>): Promise<T> => track(opened(true, task));
  const reading = <T>(task: () => Promise<T>): Promise<T> => track(opened(false, task));
  return {
    collect: (options) => (options?.dryRun === true ? reading : writing)(() => collect(context, options)),
    lastCollected: () => reading(() => lastCollected(storage)),
    scrub: (options) => writing(() => scrub(context, options)),
    lastScrubbed: () => writing(() => lastScrubbed(context)),
    check: (options) => writing(() => check(context, options)),
    // it is seldom wanted, and loads what only it needs
    backup: (path, options) =>
      writing(async () => await (await import("./backup.js")).backup(context, path, options?.signal)),
    policies: () => reading(() => listPolicies(storage)),
    setPolicy: (policy) => writing(() => setPolicy(storage, policy)),
    removePolicy: (scope) => writing(() => removePolicy(storage, scope)),
    quotas: () => reading(() => quotas.list()),
    setQuota: (owner, bytes) => writing(() => quotas.set(owner, bytes)),
    removeQuota: (owner) => writing(() => quotas.remove(owner)),
  };
}

/**
 * Makes a registry's folder of a backup: of a folder, or of a `.tar`. Every blob is hashed on the way.
 * @throws LadingError `conflict` where the folder is not empty, `archive-invalid`, `not-found`, `config-invalid`, `io`, `no-space`
 */
export async function restoreRegistry(from: string, directory: string): Promise<BackupReport> {
  return await (await import("./backup.js")).restore(from, directory);
}
