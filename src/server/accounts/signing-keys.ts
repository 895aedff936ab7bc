import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type JsonWebKey,
  type KeyObject,
  randomUUID,
} from "node:crypto";
import { promisify } from "node:util";
import type { AccountStore } from "./account-store.js";

interface KeysRecord {
  /** Who signs and who is meant: tokens of another registry are worth nothing here. */
  readonly issuer: string;
  /** The newest first. One signs, both verify. */
  readonly keys: readonly { readonly kid: string; readonly created: string; readonly jwk: JsonWebKey }[];
}

export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** A key signs for this long, in ms; it verifies for as long again. */
const lifetime = 30 * 24 * 60 * 60_000;
/** How often the store is asked for keys that are not known, in ms. */
const askAgain = 1000;

const name = "signing-keys";

/** The keys that sign tokens. They are in the store, so that all processes of a registry share them. */
export class SigningKeys {
  readonly #store: AccountStore;
  readonly #now: () => number;
  #record: KeysRecord | null = null;
  #keys: readonly SigningKey[] = [];
  #asked = Number.NEGATIVE_INFINITY;

  constructor(store: AccountStore, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  async issuer(): Promise<string> {
    return (await this.#current()).issuer;
  }

  async signing(): Promise<SigningKey> {
    await this.#current();
    const [key] = this.#keys;
    if (key === undefined) throw new Error("there is no signing key");
    return key;
  }

  /** The key that a token names, or null. */
  async verifying(kid: string): Promise<SigningKey | null> {
    await this.#current();
    const find = () => this.#keys.find((key) => key.kid === kid) ?? null;
    if (find() === null && this.#now() - this.#asked > askAgain) {
      this.#asked = this.#now();
      const record = (await this.#store.get("registry", name)) as KeysRecord | null;
      if (record !== null) this.#take(record);
    }
    return find();
  }

  /** Makes a new key. The one before it verifies on; older ones are gone, and the tokens that they signed. */
  async rotate(): Promise<void> {
    await this.#make(() => true);
  }

  async #current(): Promise<KeysRecord> {
    const record = this.#record ?? ((await this.#store.get("registry", name)) as KeysRecord | null);
    if (record !== null && !this.#isOld(record)) return this.#record === record ? record : this.#take(record);
    return await this.#make((found) => this.#isOld(found));
  }

  #isOld({ keys }: KeysRecord): boolean {
    return this.#now() - Date.parse(keys[0]?.created ?? "") > lifetime;
  }

  async #make(isDue: (record: KeysRecord) => boolean): Promise<KeysRecord> {
    return await this.#store.exclusive(async () => {
      const before = (await this.#store.get("registry", name)) as KeysRecord | null;
      if (before !== null && !isDue(before)) return this.#take(before);
      const { privateKey } = await promisify(generateKeyPair)("ec", { namedCurve: "P-256" });
      const key = {
        kid: randomUUID(),
        created: new Date(this.#now()).toISOString(),
        jwk: privateKey.export({ format: "jwk" }),
      };
      const issuer = before?.issuer ?? `lading-${randomUUID()}`;
      const record: KeysRecord = { issuer, keys: [key, ...(before?.keys ?? [])].slice(0, 2) };
      await this.#store.put("registry", name, record);
      return this.#take(record);
    });
  }

  #take(record: KeysRecord): KeysRecord {
    this.#record = record;
    this.#keys = record.keys.map(({ kid, jwk }) => {
      const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
      return { kid, privateKey, publicKey: createPublicKey(privateKey) };
    });
    return record;
  }
}
