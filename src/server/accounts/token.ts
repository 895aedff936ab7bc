import { randomUUID } from "node:crypto";
import type { AccessEntry } from "./access.js";
import type { SigningKeys } from "./signing-keys.js";

/** Whom a token stands for. What they may do now is looked up each time: nobody keeps a right that was taken. */
export interface Bearer {
  readonly kind: "anonymous" | "user" | "key";
  /** A user's name or a key's id. */
  readonly name: string;
  /** Of the user, so that a later one of the same name is another. */
  readonly id: string;
  readonly generation: number;
}

export interface VerifiedToken {
  readonly bearer: Bearer;
  readonly access: readonly AccessEntry[];
}

/** The only one. A token's own header decides nothing but which of our keys it is held against. */
const algorithm = "ES256";
/** Characters of a token, of which one with fifty scopes has fewer. */
const longest = 16 * 1024;
/** Seconds by which clocks of replicas may differ. */
const tolerance = 5;

/** Signs and verifies what the token service hands out. */
export class Tokens {
  readonly #keys: SigningKeys;
  readonly #now: () => number;
  /** Seconds. */
  readonly lifetime: number;

  constructor(keys: SigningKeys, now: () => number, lifetime: number) {
    this.#keys = keys;
    this.#now = now;
    this.lifetime = lifetime;
  }

  async issue(bearer: Bearer, access: readonly AccessEntry[]): Promise<string> {
    const [{ SignJWT }, issuer, key] = await Promise.all([import("jose"), this.#keys.issuer(), this.#keys.signing()]);
    const now = Math.floor(this.#now() / 1000);
    const { kind, name, id, generation } = bearer;
    return await new SignJWT({ access, kind, name, id, generation })
      .setProtectedHeader({ alg: algorithm, typ: "JWT", kid: key.kid })
      .setIssuer(issuer)
      .setAudience(issuer)
      .setSubject(kind === "anonymous" ? "" : `${kind}:${name}`)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + this.lifetime)
      .setJti(randomUUID())
      .sign(key.privateKey);
  }

  /** Null for whatever is not a token of ours that is valid now. */
  async verify(token: string): Promise<VerifiedToken | null> {
    // before anything is parsed: a million dots are no token
    if (token.length > longest || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return null;
    const { jwtVerify } = await import("jose");
    const issuer = await this.#keys.issuer();
    try {
      const { payload } = await jwtVerify<Bearer & Pick<VerifiedToken, "access">>(
        token,
        async ({ kid }) => {
          const key = typeof kid === "string" ? await this.#keys.verifying(kid) : null;
          if (key === null) throw new Error("a key that is not ours");
          return key.publicKey;
        },
        {
          algorithms: [algorithm],
          typ: "JWT",
          issuer,
          audience: issuer,
          requiredClaims: ["exp", "nbf", "sub"],
          clockTolerance: tolerance,
          currentDate: new Date(this.#now()),
        },
      );
      const { kind, name, id, generation, access } = payload;
      return { bearer: { kind, name, id, generation }, access };
    } catch {
      return null;
    }
  }
}
