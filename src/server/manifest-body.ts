import { isLadingError } from "../errors.js";
import { children, type Manifest, parseManifest, sniffManifestType } from "../oci/manifest.js";
import type { WireRequest } from "../oci/wire.js";
import { bodyOf, type RegistryLimits } from "./context.js";
import { Fault } from "./fault.js";

function invalid(message: string): Fault {
  return new Fault(400, "MANIFEST_INVALID", message);
}

async function readLimited(request: WireRequest, limit: number): Promise<Uint8Array> {
  const tooLarge = new Fault(413, "SIZE_INVALID", `a manifest may have ${limit} bytes at most`);
  if (Number(request.headers["content-length"] ?? 0) > limit) throw tooLarge;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyOf(request)) {
    size += chunk.length;
    if (size > limit) throw tooLarge;
    chunks.push(chunk.slice());
  }
  return Buffer.concat(chunks);
}

/** How deep the objects and lists of a JSON text nest, found without building them. */
export function jsonDepth(bytes: Uint8Array): number {
  const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket] = [0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d];
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index];
    if (inString) {
      if (byte === backslash) index++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (byte === openBrace || byte === openBracket) deepest = Math.max(deepest, ++depth);
    else if (byte === closeBrace || byte === closeBracket) depth--;
  }
  return deepest;
}

/** The type that the client gives, without parameters; where it gives none, what the manifest calls itself. */
function mediaTypeOf(request: WireRequest, bytes: Uint8Array): string {
  const given = request.headers["content-type"]?.split(";", 1)[0]?.trim();
  if (given) return given;
  try {
    const sniffed = sniffManifestType(JSON.parse(new TextDecoder().decode(bytes)));
    if (sniffed !== null) return sniffed;
  } catch {
    // said below
  }
  throw invalid("the manifest has no Content-Type");
}

/** Whether a URL is one that a client could ask as nobody in particular. It is never followed here. */
function isPublicUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return /^https?:$/.test(protocol) && username === "" && password === "";
}

/** Reads the manifest of a PUT within the limits. @throws Fault */
export async function receiveManifest(
  request: WireRequest,
  limits: RegistryLimits,
): Promise<{ readonly bytes: Uint8Array; readonly mediaType: string; readonly manifest: Manifest }> {
  const bytes = await readLimited(request, limits.manifest);
  if (jsonDepth(bytes) > limits.manifestDepth) {
    throw invalid(`the manifest nests more than ${limits.manifestDepth} levels deep`);
  }
  const mediaType = mediaTypeOf(request, bytes);
  let manifest: Manifest;
  try {
    manifest = parseManifest(bytes, mediaType);
  } catch (error) {
    // its messages are about the client's own bytes
    throw isLadingError(error) ? invalid(error.message) : error;
  }
  if (children(manifest).length > limits.descriptors) {
    throw invalid(`the manifest names more than ${limits.descriptors} contents`);
  }
  for (const { urls = [] } of children(manifest)) {
    if (!urls.every(isPublicUrl)) throw invalid("a URL of the manifest is not of http or https, or names a user");
  }
  return { bytes, mediaType, manifest };
}
