import type { WireHandler } from "../oci/wire.js";
import { version } from "../version.js";
import { Authenticator, auth } from "./auth.js";
import { type Bandwidth, limitRate } from "./bandwidth.js";
import type { Send } from "./call.js";
import type { Network } from "./checked-lookup.js";
import type { Clock } from "./clock.js";
import type { Access } from "./credential.js";
import { HttpDispatch } from "./dispatch.js";
import { HostPauses } from "./host-pauses.js";
import { closedError, inProcessDispatch } from "./in-process.js";
import { log } from "./log.js";
import type { Environment } from "./proxy.js";
import { RateBudgets } from "./rate-budget.js";
import { redirect } from "./redirect.js";
import { retry } from "./retry.js";
import { type GateRules, gate, Standing } from "./url-gate.js";

const userAgent = `lading/${version}`;

export interface TransportOptions {
  readonly authority: string;
  readonly rules: GateRules;
  readonly handler?: WireHandler | undefined;
  readonly ca?: string | undefined;
  readonly perHost: number;
  readonly env: Environment;
  readonly idleTimeout: number;
  /** @default the system's */
  readonly network?: Network | undefined;
  readonly bandwidth?: Bandwidth | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly onWarning: (text: string) => void;
  readonly onDebug: ((text: string) => void) | null;
}

export interface Transport {
  readonly send: Send;
  /** {@link Authenticator.identity} */
  readonly identity: (access: Access, signal: AbortSignal | undefined) => Promise<string>;
  readonly pauses: HostPauses;
  readonly budgets: RateBudgets;
  /** Ends connections and requests at once. */
  close(): void;
}

/** The stack that every request goes down: one policy per file, their order in one line. */
export function createTransport(options: TransportOptions): Transport {
  const { authority, handler, clock, random, onWarning, onDebug } = options;
  const rules = { ...options.rules, standing: new Standing() };
  const closing = new AbortController();
  const http = new HttpDispatch({
    perHost: options.perHost,
    insecureHosts: [...rules.insecureHosts, ...(rules.insecure ? [rules.registry.host] : [])],
    ca: options.ca,
    env: options.env,
    idleTimeout: options.idleTimeout,
    clock,
    network: options.network,
  });
  const wire = options.bandwidth === undefined ? http.send : limitRate(http.send, options.bandwidth);
  const inProcess = handler === undefined ? null : inProcessDispatch(handler, closing.signal);
  const dispatch: Send = async (call) => {
    const named = { ...call, headers: { "user-agent": userAgent, ...call.headers } };
    const answer = await (inProcess !== null && call.url.origin === rules.registry.origin
      ? inProcess(named)
      : wire(named));
    budgets.note(call.url.host, answer.headers);
    return answer;
  };

  const pauses = new HostPauses(clock);
  const budgets = new RateBudgets();
  const spent = new WeakSet<object>();
  const retrying = { clock, random, pauses, spent, onWarning };
  const tokenSend = log(retry(gate(dispatch, rules), retrying), onDebug, onWarning, clock);
  const authenticator = new Authenticator({ authority, rules, tokenSend, spent, clock, onWarning });
  const stack = log(retry(auth(redirect(gate(dispatch, rules)), authenticator), retrying), onDebug, onWarning, clock);
  return {
    pauses,
    budgets,
    identity: (access, signal) => authenticator.identity(access, signal),
    send: async (call) => {
      if (closing.signal.aborted) throw closedError();
      return await stack(call);
    },
    close: () => {
      closing.abort();
      http.close();
    },
  };
}
