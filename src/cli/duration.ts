import { LadingError } from "../errors.js";

const factors: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** What a timer can wait for: beyond it Node fires at once. */
const longest = 2 ** 31 - 1;

/**
 * `90s`, `10m`, `1h30m`, `500ms`, or bare seconds.
 * @returns Milliseconds, more than 0.
 * @throws LadingError `usage`
 */
export function parseDuration(text: string): number {
  const duration = milliseconds(text);
  if (!(duration > 0) || duration > longest) throw notDuration(text);
  return Math.max(1, Math.round(duration));
}

/**
 * How old something is: as {@link parseDuration}, and `7d`, `0`.
 * @returns Milliseconds.
 * @throws LadingError `usage`
 */
export function parseAge(text: string): number {
  const age = milliseconds(text);
  if (!(age <= Number.MAX_SAFE_INTEGER)) throw notDuration(text);
  return Math.round(age);
}

/** NaN for what is none. */
function milliseconds(text: string): number {
  const trimmed = text.trim();
  const parts = /^\d+(?:\.\d+)?$/.test(trimmed)
    ? [[trimmed, trimmed, "s"]]
    : [...trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (trimmed === "" || parts.map((part) => part[0]).join("") !== trimmed) return Number.NaN;
  return parts.reduce((sum, part) => sum + Number(part[1]) * (factors[part[2] ?? ""] ?? Number.NaN), 0);
}

function notDuration(text: string): LadingError {
  return new LadingError("usage", `${JSON.stringify(text)} is not a duration`, {
    hint: "for example 90s, 10m or 1h30m; a bare number is seconds",
  });
}

/** Seconds for people: `4.2 s`, `3m05s`, `2h10m`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const two = (value: number) => String(value).padStart(2, "0");
  return hours > 0 ? `${hours}h${two(minutes)}m` : `${minutes}m${two(whole % 60)}s`;
}
