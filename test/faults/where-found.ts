import { createReadStream } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { filesBelow } from "./stored-blobs.js";

/** The forms in which a secret would still be one. */
function formsOf(secret: string): readonly string[] {
  // Base64 of what it is part of begins at one of three places; the ends, which depend on the neighbours, are left out.
  const encoded = [0, 1, 2].map((shift) => {
    const text = Buffer.from(`${"x".repeat(shift)}${secret}`)
      .toString("base64")
      .replace(/=+$/, "");
    return text.slice(shift === 0 ? 0 : shift + 1, -2);
  });
  return [...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), ...encoded])];
}

/** N6: the texts and files in which one of the secrets is. Values are looked through as a crash would print them, causes included. */
export async function whereFound(
  secrets: readonly string[],
  texts: readonly unknown[],
  folders: readonly string[],
): Promise<readonly string[]> {
  for (const secret of secrets) if (secret.length < 8) throw new RangeError("a canary is longer than that");
  const forms = secrets.flatMap(formsOf);
  const found: string[] = [];
  for (const [index, text] of texts.entries()) {
    const whole =
      typeof text === "string" ? text : `${inspect(text, { depth: 20, showHidden: true })}${JSON.stringify(text)}`;
    if (forms.some((form) => whole.includes(form))) found.push(`text ${index}: ${whole.slice(0, 400)}`);
  }
  const longest = Math.max(...forms.map((form) => form.length));
  for (const folder of folders) {
    for (const file of await filesBelow(folder)) {
      let tail = "";
      for await (const chunk of createReadStream(join(folder, file), "latin1") as AsyncIterable<string>) {
        const text = tail + chunk;
        if (forms.some((form) => text.includes(form))) {
          found.push(join(folder, file));
          break;
        }
        tail = text.slice(-longest);
      }
    }
  }
  return found;
}
