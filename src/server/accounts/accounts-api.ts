import { isLadingError, LadingError } from "../../errors.js";
import type { WireRequest, WireResponse } from "../../oci/wire.js";
import { bodyOf } from "../context.js";
import { replyJson } from "../reply.js";
import { accountOperations, type Call, type Fields, type Operation } from "./account-operations.js";
import type { AccountRecords } from "./account-records.js";
import type { AccountStore } from "./account-store.js";
import type { Authentication, Authenticator } from "./authenticate.js";
import type { OnDecision } from "./decision.js";
import { Policy, subjectOf } from "./policy.js";

export interface AccountsApiParts {
  readonly store: AccountStore;
  readonly records: AccountRecords;
  readonly authenticator: Authenticator;
  readonly now: () => number;
  readonly onDecision: OnDecision;
}

const statuses: Readonly<Partial<Record<string, number>>> = {
  usage: 400,
  unauthorized: 401,
  denied: 403,
  "not-found": 404,
  unsupported: 405,
  conflict: 409,
  "limit-exceeded": 413,
  "rate-limited": 429,
};

/**
 * Answers what is under `/auth/` and is not the token service. Errors are `{ error: { code, message, hint } }` with the
 * codes of this package.
 * @param path What follows `/auth/`, decoded.
 */
export async function answerAccounts(
  request: WireRequest,
  path: string,
  parts: AccountsApiParts,
): Promise<WireResponse> {
  const headers = { "cache-control": "no-store" };
  let known: Authentication | null = null;
  const [group = "", ...rest] = path.split("/");
  const name = rest.join("/");
  let status = 200;
  let answer: unknown;
  try {
    const operation = operationOf(request.method, group, name);
    known = await parts.authenticator.authenticate(request.headers.authorization, request.address ?? null);
    if (!known.ok || known.by === "nothing" || known.by === "token") throw unauthenticated(known);
    const fields = await readFields(request, operation);
    const call: Call = { name, fields, known, policy: new Policy(parts.store), records: parts.records };
    answer = await operation.run(call);
  } catch (error) {
    if (!isLadingError(error) || statuses[error.code] === undefined) throw error;
    status = statuses[error.code] ?? 500;
    answer = { error: { code: error.code, message: error.message, hint: error.hint } };
  }
  parts.onDecision({
    time: new Date(parts.now()).toISOString(),
    kind: "manage",
    address: request.address ?? null,
    subject: known?.ok ? subjectOf(known.identity) : null,
    account: known?.ok === false ? known.account : null,
    action: `${request.method} ${Object.hasOwn(accountOperations, group) ? group : "?"}`,
    target: status < 400 && name !== "" ? name : null,
    allowed: status < 400,
    status: status < 400 ? null : status,
  });
  const challenge: Record<string, string> = status === 401 ? { "www-authenticate": 'Basic realm="lading"' } : {};
  const retry: Record<string, string> =
    status === 429 && known?.ok === false ? { "retry-after": String(known.retryAfter) } : {};
  return replyJson(status, answer, { headers: { ...headers, ...challenge, ...retry } });
}

function unauthenticated(known: Authentication): LadingError {
  if (known.ok || known.retryAfter === null) {
    return new LadingError("unauthorized", "a user name and password or an API key is needed here");
  }
  return new LadingError("rate-limited", "too many failed logins: wait before the next one");
}

function operationOf(method: string, group: string, name: string): Operation {
  const operations = Object.hasOwn(accountOperations, group) ? accountOperations[group] : undefined;
  const here = operations?.filter(({ named }) => named === (name !== "")) ?? [];
  if (here.length === 0) throw new LadingError("not-found", "there is no such endpoint");
  const found = here.find((operation) => operation.method === method);
  if (found === undefined) throw new LadingError("unsupported", "this method is not supported here");
  return found;
}

async function readFields(request: WireRequest, { fields, body }: Operation): Promise<Fields> {
  if (body === 0) return {};
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyOf(request)) {
    size += chunk.length;
    if (size > body) throw new LadingError("limit-exceeded", `a body may have ${body} bytes here`);
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw new LadingError("usage", "the body is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new LadingError("usage", "the body is not an object");
  const foreign = Object.keys(value).find((field) => !fields.includes(field));
  if (foreign !== undefined)
    throw new LadingError("usage", `there is no field ${JSON.stringify(foreign.slice(0, 50))} here`);
  return value as Fields;
}
