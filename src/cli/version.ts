import { readFileSync } from "node:fs";

/** The version of this package. The file lies two folders up from the source and from the built program alike. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
