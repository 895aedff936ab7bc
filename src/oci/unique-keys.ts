/**
 * The first name that an object of a JSON text has twice, or null. Readers differ on which of the two counts, so that
 * a document with one means different things to whoever checks it and whoever runs it. One pass, without recursion.
 * @param json Text that `JSON.parse` has taken: what is no JSON gives no promise.
 * @see https://www.rfc-editor.org/rfc/rfc8259#section-4
 */
export function duplicateKey(json: string): string | null {
  /** One for each object or list that is open: the names so far, or null for a list. */
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < json.length; at += 1) {
    switch (json.charCodeAt(at)) {
      case 0x7b: // {
        open.push(new Set());
        break;
      case 0x5b: // [
        open.push(null);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        open.pop();
        break;
      case 0x22: {
        const end = endOfString(json, at);
        const names = open.at(-1);
        // Within an object, a text before a colon is a name; nothing but a name stands there.
        if (names && isBeforeColon(json, end)) {
          const name = JSON.parse(json.slice(at, end)) as string;
          if (names.has(name)) return name;
          names.add(name);
        }
        at = end - 1;
        break;
      }
    }
  }
  return null;
}

/** @returns The place after the closing quote. */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at += 1) {
    const code = json.charCodeAt(at);
    if (code === 0x5c) at += 1;
    else if (code === 0x22) return at + 1;
  }
  return json.length;
}

function isBeforeColon(json: string, start: number): boolean {
  let at = start;
  while (at < json.length && " \t\r\n".includes(json.charAt(at))) at += 1;
  return json.charCodeAt(at) === 0x3a;
}
