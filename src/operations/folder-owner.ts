import type { FetchCredentials } from "../oci/credential.js";

/**
 * Whoever may read a registry's folder needs no account at its server: what proves it lies in the folder, and is read when
 * it is asked for. A login goes first all the same.
 */
export function folderOwner(data: string, usual: FetchCredentials): FetchCredentials {
  return async (request) => {
    const credential = await usual(request);
    if (credential !== null) return credential;
    const { operatorSecret } = await import("../server/accounts/folder-accounts.js");
    const secret = await operatorSecret(data);
    return secret === null ? null : { registryToken: secret };
  };
}
