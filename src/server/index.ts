export type { WireHandler, WireRequest, WireResponse } from "../oci/wire.js";
export type {
  Accounts,
  AddedApiKey,
  AddedUser,
  AddKey,
  AddProject,
  AddUser,
  ApiKey,
  ImportedUsers,
  Member,
  Organisation,
  Project,
  SetMembers,
  SetProject,
  SetUser,
  User,
} from "./accounts/accounts.js";
export type { AccountDecision } from "./accounts/decision.js";
export { folderHasAccounts, operatorSecret } from "./accounts/folder-accounts.js";
export { remoteAccounts, type SendToAccounts } from "./accounts/remote-accounts.js";
export type { Grant, Role } from "./accounts/role.js";
export type { AdoptBlobRequest, BlobPathRequest } from "./adopt.js";
export type { Authorize, AuthorizeRequest, Decision, Principal } from "./authorize.js";
export type { BackupReport } from "./backup.js";
export type { CheckOptions, CheckReport, Problem, ProblemKind } from "./check.js";
export { collectRegularly } from "./collect-regularly.js";
export type { CollectOptions, CollectReport } from "./collect-report.js";
export type { RegistryLimits } from "./context.js";
export { type Hold, type Holder, heldBy, holderOf, holdFolder, isAnswering } from "./hold.js";
export type { AccountsOptions } from "./lazy-accounts.js";
export { type Listening, type ListenOptions, listen } from "./listen.js";
export type { Quota } from "./quotas.js";
export { createRegistry, type Registry, type RegistryOptions } from "./registry.js";
export type { RetentionPolicy } from "./retention-policy.js";
export type { Action } from "./route.js";
export type { ScrubOptions, ScrubReport } from "./scrub.js";
export { scrubRegularly } from "./scrub-regularly.js";
export { restoreRegistry, type Upkeep } from "./upkeep.js";
