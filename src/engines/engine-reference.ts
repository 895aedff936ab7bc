import type { LocalImage } from "../image/local-image.js";
import { splitName } from "../image/reference.js";
import type { EngineReference } from "./engine.js";

/** A name with its tag, or an image ID, as engines take it. */
export function referenceText(reference: EngineReference): string {
  return typeof reference === "string" ? reference : `${reference.name}:${reference.tag ?? "latest"}`;
}

/** The same in a path of the API: slashes and colons stay as they are. */
export function referencePath(text: string): string {
  return encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%40", "@");
}

/** `docker.io/library/app` for `app`: how engines spell a name in full. */
export function canonicalName(image: LocalImage): string {
  const { host, path } = splitName(image.name);
  if (host !== null && host !== "docker.io" && host !== "index.docker.io") return `${host}/${path}`;
  return `docker.io/${path.includes("/") ? path : `library/${path}`}`;
}
