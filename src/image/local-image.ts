import { badReference, checkedTag, checkedText, quoted, splitName } from "./reference.js";

/** A `LocalImage` as JSON. */
export interface LocalImageJson {
  readonly name: string;
  readonly tag: string | null;
}

/** An image in a local engine: `[host[:port]/]path[:tag]`. Frozen, equal by value. */
export class LocalImage {
  /** The name with its host, where it has one: `ubuntu`, `localhost:5000/bob/ubuntu`. */
  readonly name: string;
  /** The tag; null where it is left out (implicitly `latest`). */
  readonly tag: string | null;

  /** @throws LadingError `bad-reference` */
  constructor(name: string, tag?: string | null) {
    splitName(checkedText(name));
    this.name = name;
    this.tag = tag === undefined || tag === null ? null : checkedTag(tag);
    Object.freeze(this);
  }

  /**
   * The value itself, or one of the same shape (of another copy of this package, or its JSON) as a value of this class.
   * @throws LadingError `bad-reference`
   */
  static from(value: unknown): LocalImage {
    if (value instanceof LocalImage) return value;
    if (typeof value === "object" && value !== null && "name" in value && "tag" in value && !("registry" in value)) {
      const { name, tag } = value as { name: string; tag: string | null };
      return new LocalImage(name, tag);
    }
    const hint = typeof value === "string" ? "make one of the text with client.parse.localImage(text)" : null;
    throw badReference(`expected a LocalImage, not ${quoted(value)}`, hint);
  }

  equals(other: unknown): boolean {
    if (typeof other !== "object" || other === null || "registry" in other) return false;
    const { name, tag } = other as Partial<LocalImageJson>;
    return name === this.name && tag === this.tag;
  }

  toString(): string {
    return this.tag === null ? this.name : `${this.name}:${this.tag}`;
  }

  toJSON(): LocalImageJson {
    return { name: this.name, tag: this.tag };
  }
}
