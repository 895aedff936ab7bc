export type { WireHandler, WireRequest, WireResponse } from "../oci/wire.js";
export type { AdoptBlobRequest, BlobPathRequest } from "./adopt.js";
export type { Authorize, AuthorizeRequest, Decision, Principal } from "./authorize.js";
export type { RegistryLimits } from "./context.js";
export { type Hold, type Holder, heldBy, holderOf, holdFolder, isAnswering } from "./hold.js";
export { type Listening, type ListenOptions, listen } from "./listen.js";
export { createRegistry, type Registry, type RegistryOptions } from "./registry.js";
export type { Action } from "./route.js";
