import type { Client } from "../client.js";
import type { EngineReference } from "../engines/engine.js";
import { isDigest } from "../oci/digest.js";

/** A name in a local position, or an image ID: `sha256:<64 hex>`. @throws LadingError `bad-reference` */
export function localArgument(client: Client, text: string): EngineReference {
  return isDigest(text) && text.startsWith("sha256:") ? text : client.parse.localImage(text);
}
