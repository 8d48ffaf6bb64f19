// The steps of storage: an account, a page blob with the VHD, block blobs, a disk of a blob.

import assert from "node:assert/strict";

import {
  BlobServiceClient,
  GROUP,
  HOME,
  MIB,
  StorageSharedKeyCredential,
  all,
  digestOf,
  heldBytes,
  putPages,
  refused,
  say,
} from "./world.mjs";

export const ACCOUNT = "nodevhds";
const CONTAINER = "images";
const API_VERSION = "2025-08-01";

/** Returns the keys of the account; the SDK for accounts is another package. */
async function keysOf(world) {
  const { token } = await world.credential.getToken(world.scope);
  const url = `${world.endpoint}${world.accountId}/listKeys?api-version=${API_VERSION}`;
  const answer = await fetch(url, { method: "POST", headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200);
  return (await answer.json()).keys;
}

/** An account is made as a generic resource; its keys open its blobs. */
export async function makeAccount(world) {
  world.accountId = world.id(`Microsoft.Storage/storageAccounts/${ACCOUNT}`);
  const body = { location: HOME, sku: { name: "Standard_LRS" }, kind: "StorageV2" };
  const resources = world.resources.resources;
  const made = await resources.beginCreateOrUpdateByIdAndWait(world.accountId, API_VERSION, body);
  assert.equal(made.properties.provisioningState, "Succeeded");
  const keys = await keysOf(world);
  assert.deepEqual(keys.map((key) => key.keyName), ["key1", "key2"]);
  const credential = new StorageSharedKeyCredential(ACCOUNT, keys[0].value);
  world.blobs = new BlobServiceClient(made.properties.primaryEndpoints.blob, credential);
  const found = await all(resources.list({ filter: `resourceType eq 'Microsoft.Storage/storageAccounts'` }));
  assert.deepEqual(found.map((item) => item.name), [ACCOUNT]);
  say("storage account: generic create, generic list, keys");
}

/** A fixed VHD goes up as a page blob and reads back by ranges; holes stay holes. */
export async function uploadVhd(world) {
  const container = world.blobs.getContainerClient(CONTAINER);
  assert.equal((await container.createIfNotExists()).succeeded, true);
  assert.equal((await container.createIfNotExists()).succeeded, false);
  const blob = container.getPageBlobClient("debian.vhd");
  await blob.create(world.vhd.length, { metadata: { os: "debian" } });
  await putPages(blob, world.vhd);
  const shown = await blob.getProperties();
  assert.equal(shown.contentLength, world.vhd.length);
  assert.deepEqual([shown.blobType, shown.metadata.os], ["PageBlob", "debian"]);
  const part = await blob.downloadToBuffer(3 * MIB - 7, 1000);
  assert.ok(part.equals(world.vhd.subarray(3 * MIB - 7, 3 * MIB - 7 + 1000)), "a range");
  const whole = await blob.downloadToBuffer();
  assert.equal(digestOf(whole), digestOf(world.vhd));
  const held = await heldBytes(blob);
  assert.ok(held > 0 && held < (world.vhd.length * 3) / 4, `${held} bytes held`);
  await blob.clearPages(0, MIB);
  assert.ok((await blob.downloadToBuffer(0, MIB)).equals(Buffer.alloc(MIB)), "cleared pages");
  await blob.uploadPages(world.vhd.subarray(0, MIB), 0, MIB);
  world.blobUrl = blob.url;
  say(`page blob: ${world.vhd.length} bytes up, ${held} of them data, read back, cleared, written again`);
}

/** Block blobs keep bytes, metadata and content type; they list and go. */
export async function useBlockBlobs(world) {
  const container = world.blobs.getContainerClient(CONTAINER);
  const blob = container.getBlockBlobClient("notes/read me.txt");
  const text = Buffer.from("what this image is for\n".repeat(1000));
  const headers = { blobHTTPHeaders: { blobContentType: "text/plain" } };
  await blob.uploadData(text, { metadata: { team: "images" }, ...headers });
  assert.ok((await blob.downloadToBuffer()).equals(text), "the bytes");
  const shown = await blob.getProperties();
  assert.deepEqual([shown.metadata.team, shown.contentType], ["images", "text/plain"]);
  const isNew = { conditions: { ifNoneMatch: "*" } };
  await refused("BlobAlreadyExists", 409, blob.upload("x", 1, isNew));
  await blob.setMetadata({ team: "platform" });
  assert.equal((await blob.getProperties()).metadata.team, "platform");
  const ids = ["0000", "0001"].map((name) => Buffer.from(name).toString("base64"));
  for (const [index, id] of ids.entries()) await blob.stageBlock(id, Buffer.alloc(MIB, index), MIB);
  await blob.commitBlockList([...ids].reverse());
  assert.ok((await blob.downloadToBuffer(MIB - 1, 2)).equals(Buffer.from([1, 0])), "the blocks' order");
  const names = (await all(container.listBlobsFlat())).map((item) => item.name);
  assert.deepEqual(names, ["debian.vhd", "notes/read me.txt"]);
  const tops = (await all(container.listBlobsByHierarchy("/"))).map((item) => item.name);
  assert.deepEqual(tops, ["notes/", "debian.vhd"]);
  const pages = await all(container.listBlobsFlat().byPage({ maxPageSize: 1 }));
  const listed = pages.flatMap((page) => page.segment.blobItems.map((item) => item.name));
  assert.deepEqual(listed, names);
  await blob.delete();
  await refused("BlobNotFound", 404, blob.downloadToBuffer());
  say("block blob: put, metadata, blocks, list by pages and by folder, delete");
}

/** A disk is imported from the blob and goes again. */
export async function importDisk(world) {
  const { disks } = world.compute;
  const creationData = {
    createOption: "Import",
    sourceUri: world.blobUrl,
    storageAccountId: world.accountId,
  };
  const made = await disks.createOrUpdate(GROUP, "imported", { location: HOME, osType: "Linux", creationData });
  assert.deepEqual([made.provisioningState, made.diskState], ["Succeeded", "Unattached"]);
  assert.equal(made.diskSizeBytes, world.vhd.length - 512);
  await disks.delete(GROUP, "imported");
  await refused("ResourceNotFound", 404, disks.get(GROUP, "imported"));
  say("disk: imported from the blob, deleted");
}

/** Containers go with what is in them, then the account. */
export async function deleteAccount(world) {
  await world.blobs.deleteContainer(CONTAINER);
  await world.resources.resources.beginDeleteByIdAndWait(world.accountId, API_VERSION);
  const gone = world.resources.resources.getById(world.accountId, API_VERSION);
  await refused("ResourceNotFound", 404, gone);
  say("storage: container and account deleted");
}
