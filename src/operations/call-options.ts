import { LadingError } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import { RemoteImage } from "../image/remote-image.js";
import type { FetchCredentials } from "../oci/credential.js";

/** What every call that waits may be given. */
export interface CallOptions {
  readonly signal?: AbortSignal | null | undefined;
  readonly fetchCredentials?: FetchCredentials | null | undefined;
}

/** A call of the client, as its errors name it and as it may be ended. */
export interface CallInput {
  readonly options?: (CallOptions & { readonly progress?: ImageProgress | null | undefined }) | null | undefined;
  /** The image, images or text that the caller named. */
  readonly image?: unknown;
}

/** Programs without types give anything: what can't be an option is refused before anything is done. @throws LadingError `usage` */
export function checkCallOptions(options: unknown): void {
  if (options === undefined || options === null) return;
  if (typeof options !== "object") throw misused("options", "an object");
  const { signal, fetchCredentials, progress, platform } = options as Readonly<Record<string, unknown>>;
  if (given(signal) && !(signal instanceof AbortSignal)) throw misused("signal", "an AbortSignal");
  if (given(fetchCredentials) && typeof fetchCredentials !== "function")
    throw misused("fetchCredentials", "a function");
  if (given(progress) && typeof progress !== "function" && typeof progress !== "object") {
    throw misused("progress", "a function, or an object with push, pull or step");
  }
  if (given(platform) && typeof platform !== "string") throw misused("platform", "os/architecture[/variant] or all");
}

/** One of a closed list, or null. @throws LadingError `usage` */
export function checkedChoice<Choice extends string>(
  name: string,
  value: Choice | null | undefined,
  choices: readonly Choice[],
): Choice | null {
  if (value === undefined || value === null) return null;
  if (choices.includes(value)) return value;
  throw misused(name, `one of ${choices.join(", ")}`);
}

/** @internal */
export function misused(name: string, expected: string): LadingError {
  return new LadingError("usage", `${name} is not what it should be`, { hint: `expected ${expected}` });
}

/** How errors show what the caller named, also where that is a value of another copy of the package. */
export function imageText(image: unknown): string | undefined {
  if (typeof image === "string" || image === undefined) return image;
  if (Array.isArray(image)) return image.map((one) => imageText(one) ?? "?").join(", ");
  if (typeof image !== "object" || image === null) return undefined;
  try {
    return String("registry" in image ? RemoteImage.from(image) : LocalImage.from(image));
  } catch {
    return undefined; // What is wrong with it is the call's to say.
  }
}

function given(value: unknown): boolean {
  return value !== undefined && value !== null;
}
