import { FilesystemStorage } from "../storage/filesystem.js";
import { AccountStore } from "./account-store.js";

/** Whether a registry's folder has accounts: then it is not served without them. @throws LadingError `config-invalid` */
export async function folderHasAccounts(directory: string): Promise<boolean> {
  return (await new AccountStore(new FilesystemStorage(directory, { durable: true })).list("users")).length > 0;
}

/**
 * What proves to the server of a folder that one may read its files, as its `Authorization: Bearer`; null where the server
 * has no accounts, or there is none.
 */
export async function operatorSecret(directory: string): Promise<string | null> {
  const store = new AccountStore(new FilesystemStorage(directory, { durable: true }));
  const record = (await store.get("registry", "operator")) as { readonly secret?: string } | null;
  return record?.secret ?? null;
}
