// Prints the digests that a build makes of the golden inputs: node test/golden/compressor.mjs [dist/content/compress.js]
// Run under several versions of Node, the outputs must be equal. Exits with 1 where they are not the golden ones.
import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { goldenInputs, goldenVectors } from "./compressor-vectors.mjs";

const built = process.argv[2]
  ? pathToFileURL(process.argv[2])
  : new URL("../../dist/content/compress.js", import.meta.url);
const { gzipStream, compressorId } = await import(built.href);
const digests = {};
for (const [name, bytes] of goldenInputs()) {
  const hash = createHash("sha256");
  for await (const part of gzipStream([bytes])) hash.update(part);
  digests[name] = `sha256:${hash.digest("hex")}`;
}
console.log(JSON.stringify({ node: process.version, compressorId, digests }, null, 1));
const same = JSON.stringify({ compressorId, digests }) === JSON.stringify(goldenVectors);
if (!same) process.exitCode = 1;
