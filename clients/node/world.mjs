// What the scripts of the JavaScript SDK share: clients, names, refusals, digests.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// The packages lie where `cargo xtask test` installed them, not beside this file.
const installed = createRequire(path.join(process.env.VITRINE_TEST_NODE_MODULES, "anchor.js"));
export const { ComputeManagementClient } = installed("@azure/arm-compute");
export const { ResourceManagementClient } = installed("@azure/arm-resources");
export const { ClientSecretCredential } = installed("@azure/identity");
export const { BlobServiceClient, PageBlobClient, StorageSharedKeyCredential } =
  installed("@azure/storage-blob");

export const GROUP = "node-rg";
export const HOME = "eastus";
export const FOOTER_BYTES = 512;
export const MIB = 1 << 20;
/** The largest Put Page. */
const PAGE_BYTES_MAX = 4 * MIB;

/** Prints that a step held. */
export function say(step) {
  console.log(`ok  ${step}`);
}

/** Awaits a refusal and returns the error. */
export async function refused(code, status, promise) {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    const found = [error.code ?? error.details?.errorCode, error.statusCode];
    assert.deepEqual(found, [code, status], error.message);
    return error;
  }
  assert.fail(`not refused with ${code}: ${JSON.stringify(answer)}`);
}

/** Returns all items of a paged list. */
export async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

/** Returns a moment whole days from now, without fractions of a second. */
export function inDays(days) {
  const now = Math.floor(Date.now() / 1000) * 1000;
  return new Date(now + days * 24 * 60 * 60 * 1000);
}

/** Returns the SHA-256 of a VHD's disk: everything but the footer. */
export function digestOf(vhd) {
  return createHash("sha256").update(vhd.subarray(0, vhd.length - FOOTER_BYTES)).digest("hex");
}

/** Writes the pages of a VHD that hold something; the blob is there and empty. */
export async function putPages(blob, vhd) {
  const nothing = Buffer.alloc(PAGE_BYTES_MAX);
  for (let offset = 0; offset < vhd.length; offset += PAGE_BYTES_MAX) {
    const page = vhd.subarray(offset, Math.min(offset + PAGE_BYTES_MAX, vhd.length));
    if (!page.equals(nothing.subarray(0, page.length))) {
      await blob.uploadPages(page, offset, page.length);
    }
  }
}

/** Returns the bytes that a page blob says it holds. */
export async function heldBytes(blob) {
  const pages = await all(blob.listPageRanges());
  return pages.filter((page) => !page.isClear).reduce((sum, page) => sum + page.end - page.start + 1, 0);
}

/** The clients, signed in, and what the steps hand on. */
export class World {
  constructor(credentialsPath, vhdPath) {
    const credentials = JSON.parse(readFileSync(credentialsPath, "utf8"));
    this.vhd = readFileSync(vhdPath);
    this.endpoint = credentials.endpoint;
    this.subscription = credentials.subscriptionId;
    this.tenant = credentials.tenantId;
    this.client = credentials.clientId;
    this.scope = `${this.endpoint}/.default`;
    this.credential = this.signIn(credentials.clientSecret);
    const options = { endpoint: this.endpoint, credentials: { scopes: [this.scope] } };
    this.compute = new ComputeManagementClient(this.credential, this.subscription, options);
    this.resources = new ResourceManagementClient(this.credential, this.subscription, {
      ...options,
      credentialScopes: [this.scope],
    });
  }

  /** Returns a credential with this secret. */
  signIn(secret) {
    const options = { authorityHost: this.endpoint, disableInstanceDiscovery: true };
    return new ClientSecretCredential(this.tenant, this.client, secret, options);
  }

  /** Returns the id of something in the group. */
  id(tail) {
    return `/subscriptions/${this.subscription}/resourceGroups/${GROUP}/providers/${tail}`;
  }
}
