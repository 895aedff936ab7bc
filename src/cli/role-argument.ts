import { LadingError } from "../errors.js";
import type { Role } from "../server/index.js";

/** `NAME:ROLE`, as members of organisations and scopes of keys are written. @throws LadingError `usage` */
export function roleArgument(text: string): { readonly name: string; readonly role: Role } {
  const at = text.lastIndexOf(":");
  if (at > 0 && at < text.length - 1) {
    // whether it is a role is said by what takes it in
    return { name: text.slice(0, at), role: text.slice(at + 1) as Role };
  }
  throw new LadingError("usage", `${JSON.stringify(text)} is not NAME:ROLE`, {
    hint: "the roles are none, read, write, delete and admin",
  });
}
