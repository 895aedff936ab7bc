import { LadingError } from "../errors.js";
import { checkedTag, quoted } from "./reference.js";

/**
 * What a parser does about a tag: `default` makes a missing one `latest`, `allow` leaves it null,
 * `deny` refuses one.
 */
export type TagOption = "default" | "allow" | "deny";

/** A `Tag` as JSON; `size` in bytes. */
export interface TagJson {
  readonly name: string;
  readonly size: number;
}

/** A tag of a remote image and what it takes there. Frozen, equal by value. */
export class Tag {
  readonly name: string;
  /** The compressed layers' sum in bytes. */
  readonly size: number;

  /** @throws LadingError `bad-reference` for the name, `usage` for a size that is no whole number of bytes */
  constructor(name: string, size: number) {
    this.name = checkedTag(name);
    if (!Number.isSafeInteger(size) || size < 0)
      throw new LadingError("usage", "a tag's size is not a whole number of bytes");
    this.size = size;
    Object.freeze(this);
  }

  /**
   * The value itself, or one of the same shape as a value of this class.
   * @throws LadingError `bad-reference`, `usage`
   */
  static from(value: unknown): Tag {
    if (value instanceof Tag) return value;
    if (typeof value !== "object" || value === null)
      throw new LadingError("usage", `expected a Tag, not ${quoted(value)}`);
    const { name, size } = value as TagJson;
    return new Tag(name, size);
  }

  equals(other: unknown): boolean {
    if (typeof other !== "object" || other === null) return false;
    const { name, size } = other as Partial<TagJson>;
    return name === this.name && size === this.size;
  }

  toString(): string {
    return this.name;
  }

  toJSON(): TagJson {
    return { name: this.name, size: this.size };
  }
}
