import { readFile } from "node:fs/promises";
import { LadingError } from "../errors.js";

/** Further certificate authorities, as PEM text. @throws LadingError `config-invalid` */
export async function readAuthorities(path: string): Promise<string> {
  const hint = "ca in the configuration, LADING_CA_FILE or --ca-file name it";
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new LadingError("config-invalid", `the certificate file ${path} cannot be read`, {
      hint,
      cause,
    });
  }
  // Node would take it, and trust nobody more for it.
  if (text.includes("-----BEGIN ")) return text;
  throw new LadingError("config-invalid", `the certificate file ${path} holds no certificate in PEM form`, { hint });
}
