import { createHmac, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { LadingError } from "../../errors.js";

/** OWASP's parameters for 32 MiB: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#scrypt */
const cost = { ln: 15, r: 8, p: 3 } as const;
const length = 32;

/** The longest password in bytes: bcrypt looks at no more, so a longer one would be weaker than it seems. */
export const longestPassword = 72;
const shortestPassword = 8;

/** Hash jobs that run at once. Node's pool has four threads, and the disk needs some. */
const parallel = 2;
/** Jobs that wait for their turn, some ten seconds of them. */
const mostWaiting = 64;
/** How long a right password is remembered, in ms, and how many are. */
const remembered = 60_000;
const mostRemembered = 1000;

/** @throws LadingError `usage` */
export function checkPassword(password: unknown): string {
  const bytes = typeof password === "string" ? Buffer.byteLength(password) : 0;
  if (typeof password === "string" && bytes >= shortestPassword && bytes <= longestPassword) return password;
  throw new LadingError("usage", `a password has ${shortestPassword} to ${longestPassword} bytes`);
}

function derive(password: string, salt: Uint8Array, { ln, r, p }: { ln: number; r: number; p: number }) {
  return new Promise<Buffer>((resolve, reject) => {
    scrypt(password, salt, length, { N: 2 ** ln, r, p, maxmem: 256 * 2 ** ln * r }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

/** In the PHC string format: `$scrypt$ln=15,r=8,p=3$SALT$HASH`. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(password, salt, cost);
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
  return `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${text(salt)}$${text(key)}`;
}

async function verifyScrypt(password: string, hash: string): Promise<boolean> {
  const match = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(hash);
  const [, ln, r, p, salt = "", key = ""] = match ?? [];
  if (match === null) return false;
  const found = await derive(password, Buffer.from(salt, "base64"), { ln: Number(ln), r: Number(r), p: Number(p) });
  const wanted = Buffer.from(key, "base64");
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}

async function verify(password: string, hash: string): Promise<boolean> {
  if (hash.startsWith("$scrypt$")) return await verifyScrypt(password, hash);
  const { verifyBcrypt } = await import("./bcrypt.js");
  return await verifyBcrypt(password, hash);
}

/** Checks passwords: a bounded number at once, and as slowly for users that there are not. */
export class PasswordChecker {
  readonly #now: () => number;
  readonly #verify: typeof verify;
  /** So that what is remembered is of no use to whoever reads the memory of another run. */
  readonly #secret = randomBytes(32);
  readonly #known = new Map<string, number>();
  readonly #checks = new Map<string, Promise<boolean | "busy">>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #dummy: Promise<string> | null = null;

  constructor(now: () => number, check: typeof verify = verify) {
    this.#now = now;
    this.#verify = check;
  }

  /**
   * @param hash Null for a user that there is not, or that has no password.
   * @param mayTry Asked once it is this one's turn.
   * @returns `busy` where it was not checked
   */
  async check(password: string, hash: string | null, mayTry: () => boolean = () => true): Promise<boolean | "busy"> {
    // longer ones were never set, and bcrypt would take the beginning of one for the whole
    if (hash === null || Buffer.byteLength(password) > longestPassword) return await this.#waste(mayTry);
    const key = createHmac("sha256", this.#secret).update(`${hash}\0${password}`).digest("base64");
    const until = this.#known.get(key);
    if (until !== undefined && until > this.#now()) return true;
    this.#known.delete(key);
    const underWay = this.#checks.get(key);
    if (underWay !== undefined) return await underWay;
    const checking = this.#limited(async () => mayTry() && (await this.#verify(password, hash)));
    this.#checks.set(key, checking);
    try {
      const right = await checking;
      if (right !== true) return right;
    } finally {
      this.#checks.delete(key);
    }
    if (this.#known.size >= mostRemembered) this.#known.clear();
    this.#known.set(key, this.#now() + remembered);
    return true;
  }

  /** Makes the hash of a new password, among the jobs that are bounded. @throws LadingError `rate-limited` */
  async hash(password: string): Promise<string> {
    const made = await this.#limited(() => hashPassword(password));
    if (made !== "busy") return made;
    throw new LadingError("rate-limited", "too many passwords are checked at this moment", {
      hint: "try again in a while",
    });
  }

  async #waste(mayTry: () => boolean): Promise<false | "busy"> {
    this.#dummy ??= hashPassword(randomBytes(16).toString("hex"));
    const dummy = await this.#dummy;
    const done = await this.#limited(async () => mayTry() && (await this.#verify("x", dummy)));
    return done === "busy" ? done : false;
  }

  async #limited<T>(task: () => Promise<T>): Promise<T | "busy"> {
    if (this.#waiting.length >= mostWaiting) return "busy";
    if (this.#running >= parallel) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
