import { safeText } from "./safe-text.js";

/** One thing for people: `field = value` a line, lists with commas. */
export function fieldLines(value: object): readonly string[] {
  return Object.entries(value).map(([name, field]) => `${name} = ${safeText(shown(field))}`);
}

function shown(value: unknown): string {
  if (value === null) return "";
  if (!Array.isArray(value)) return String(value);
  // members and grants: `alice:write`
  return value
    .map((entry) => (typeof entry === "object" ? Object.values(entry as object).join(":") : String(entry)))
    .join(",");
}
