/**
 * What must not reach a terminal from somebody else's text: control characters (C0, C1, DEL), line separators, marks
 * that turn the direction of text, characters without width, tag characters and halves of surrogate pairs.
 */
const unsafe =
  // biome-ignore lint/suspicious/noMisleadingCharacterClass: combining characters are meant one by one
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]|\u034f|\p{Surrogate}/gu;

/**
 * Text from outside (registry, engine, archive, file) made visible: what could steer a terminal becomes an escape
 * such as `\x1b` or `\u{202e}`.
 * @param limit Characters after which the text is cut. @default none
 */
export function safeText(text: string, limit = Number.POSITIVE_INFINITY): string {
  const visible = text.replace(unsafe, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
  return visible.length > limit ? `${visible.slice(0, Math.max(0, limit - 1))}…` : visible;
}

/** JSON of exactly this value, in which the same characters are written as JSON's own escapes. */
export function safeJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent) ?? "null";
  return escapeJson(text);
}

/** The same for text that is JSON already: the value stays, only its spelling changes. */
export function escapeJson(json: string): string {
  return json.replace(unsafe, (character) => {
    // Outside of strings JSON has these alone; inside, JSON.stringify has escaped them already.
    if (character === "\n" || character === "\r" || character === "\t") return character;
    return [...Array(character.length).keys()]
      .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`)
      .join("");
  });
}
