import { type CollectOptions, type CollectReport, collect } from "./collect.js";
import type { Context } from "./context.js";
import { listPolicies, type RetentionPolicy, removePolicy, setPolicy } from "./retention-policy.js";

/** What the operator of a registry does with it, while it serves or not. */
export interface Upkeep {
  /**
   * Removes what nothing names any more.
   * @throws LadingError `conflict` where a collection or a backup runs, `cancelled`
   */
  collect(options?: CollectOptions): Promise<CollectReport>;
  policies(): Promise<readonly RetentionPolicy[]>;
  /** Puts a policy in the place of the one of the same scope. @throws LadingError `usage` */
  setPolicy(policy: RetentionPolicy): Promise<void>;
  /** False where there is none of exactly this scope. */
  removePolicy(scope: string): Promise<boolean>;
}

/** @param track Has the registry's closing wait for a task. */
export function createUpkeep(context: Context, track: <T>(task: Promise<T>) => Promise<T>): Upkeep {
  const { storage } = context;
  const writing = async <T>(task: () => Promise<T>): Promise<T> => {
    const opened = async (): Promise<T> => {
      await storage.open({ write: true });
      return await task();
    };
    return await track(opened());
  };
  const reading = async <T>(task: () => Promise<T>): Promise<T> => {
    await storage.open({ write: false });
    return await track(task());
  };
  return {
    collect: (options) => (options?.dryRun === true ? reading : writing)(() => collect(context, options)),
    policies: () => reading(() => listPolicies(storage)),
    setPolicy: (policy) => writing(() => setPolicy(storage, policy)),
    removePolicy: (scope) => writing(() => removePolicy(storage, scope)),
  };
}
