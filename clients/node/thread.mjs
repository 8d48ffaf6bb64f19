// The whole thread of a gallery with the Azure SDK for JavaScript.
//
//     node thread.mjs CREDENTIALS_JSON FIXED_VHD
//
// A VHD goes into a disk, becomes a version in two regions, a disk in the far one, and comes out
// with the same bytes; what is deleted comes back; what is wrong is refused with its code. Prints
// one line per step and ends with 0 when every step held. The CA is trusted through
// NODE_EXTRA_CA_CERTS; VITRINE_TEST_NODE_MODULES says where the packages are.

import assert from "node:assert/strict";

import { deleteAccount, importDisk, makeAccount, uploadVhd, useBlockBlobs } from "./storage_steps.mjs";
import {
  FOOTER_BYTES,
  GROUP,
  HOME,
  PageBlobClient,
  World,
  all,
  digestOf,
  heldBytes,
  inDays,
  putPages,
  refused,
  say,
} from "./world.mjs";

const [GALLERY, IMAGE, VERSION] = ["node_sig", "debian", "1.0.0"];
const [FAR, SPARE] = ["westeurope", "westus2"];
const PLACE = [GROUP, GALLERY, IMAGE, VERSION];

/** A right secret gives a token, a wrong one is refused by the name of the error. */
async function signIn(world) {
  const { token } = await world.credential.getToken(world.scope);
  assert.equal(token.split(".").length, 3, "the token is a JWT");
  await assert.rejects(world.signIn("wrong").getToken(world.scope), /AADSTS7000215/);
  say("sign in: token for the secret, AADSTS7000215 for a wrong one");
}

/** A resource group is made, shown, listed and found. */
async function makeGroup(world) {
  const { resourceGroups } = world.resources;
  const made = await resourceGroups.createOrUpdate(GROUP, { location: HOME, tags: { by: "node" } });
  assert.deepEqual([made.name, made.location, made.tags], [GROUP, HOME, { by: "node" }]);
  assert.equal((await resourceGroups.checkExistence(GROUP)).body, true);
  assert.equal((await resourceGroups.checkExistence("no-such-group")).body, false);
  assert.ok((await all(resourceGroups.list())).some((group) => group.name === GROUP));
  say("resource group: create, exists, list");
}

/** A disk is made for an upload, filled through its URL and closed. */
async function uploadDisk(world) {
  const { disks } = world.compute;
  const creationData = { createOption: "Upload", uploadSizeBytes: world.vhd.length };
  const made = await disks.createOrUpdate(GROUP, "source", { location: HOME, creationData });
  assert.equal(made.diskState, "ReadyToUpload");
  const wanted = { access: "Write", durationInSeconds: 3600 };
  const { accessSAS } = await disks.grantAccess(GROUP, "source", wanted);
  assert.equal((await disks.get(GROUP, "source")).diskState, "ActiveUpload");
  await putPages(new PageBlobClient(accessSAS), world.vhd);
  await disks.revokeAccess(GROUP, "source");
  const closed = await disks.get(GROUP, "source");
  assert.equal(closed.diskState, "Unattached");
  assert.equal(closed.diskSizeBytes, world.vhd.length - FOOTER_BYTES);
  world.sourceId = closed.id;
  say("disk: made for an upload, written through its URL, closed");
}

/** A gallery is made, shown, listed and changed. */
async function makeGallery(world) {
  const { galleries } = world.compute;
  const body = { location: HOME, tags: { stage: "test" }, description: "images of the team" };
  const made = await galleries.createOrUpdate(GROUP, GALLERY, body);
  assert.deepEqual([made.provisioningState, made.description], ["Succeeded", "images of the team"]);
  assert.equal(made.identifier.uniqueName, `${world.subscription}-${GALLERY.toUpperCase()}`);
  const byGroup = await all(galleries.listByResourceGroup(GROUP));
  assert.deepEqual(byGroup.map((item) => item.name), [GALLERY]);
  assert.ok((await all(galleries.list())).some((item) => item.name === GALLERY));
  const changed = await galleries.update(GROUP, GALLERY, { description: "changed" });
  assert.deepEqual([changed.description, changed.tags], ["changed", { stage: "test" }]);
  say("gallery: create, list, update");
}

/** A gallery is opened to the community, shown as such, and made private again. */
async function shareGallery(world) {
  const { galleries, gallerySharingProfile } = world.compute;
  const communityGalleryInfo = {
    publisherUri: "https://example.org",
    publisherContact: "images@example.org",
    eula: "https://example.org/eula",
    publicNamePrefix: "acmeimages",
  };
  const sharingProfile = { permissions: "Community", communityGalleryInfo };
  const place = [GROUP, "node_shared"];
  const made = await galleries.createOrUpdate(...place, { location: HOME, sharingProfile });
  const info = made.sharingProfile.communityGalleryInfo;
  assert.match(info.publicNames[0], /^acmeimages-[0-9a-f-]{36}$/);
  assert.equal(info.communityGalleryEnabled, false);
  const enable = { operationType: "EnableCommunity" };
  const enabled = await gallerySharingProfile.update(...place, enable);
  assert.equal(enabled.operationType, "EnableCommunity");
  const open = (await galleries.get(...place)).sharingProfile;
  assert.equal(open.communityGalleryInfo.communityGalleryEnabled, true);
  assert.deepEqual(open.communityGalleryInfo.publicNames, info.publicNames);
  await refused("OperationNotAllowed", 409, galleries.delete(...place));
  await gallerySharingProfile.update(...place, { operationType: "Reset" });
  assert.equal((await galleries.get(...place)).sharingProfile.permissions, "Private");
  await galleries.delete(...place);
  say("gallery: opened to the community, reset");
}

/** A definition with every property that the SDK knows. */
function imageBody() {
  return {
    location: HOME,
    tags: { os: "debian" },
    description: "Debian 12 for the team",
    eula: "https://example.org/eula",
    privacyStatementUri: "https://example.org/privacy",
    releaseNoteUri: "https://example.org/notes",
    osType: "Linux",
    osState: "Generalized",
    hyperVGeneration: "V2",
    architecture: "x64",
    endOfLifeDate: inDays(900),
    identifier: { publisher: "acme", offer: "debian", sku: "12" },
    recommended: { vCPUs: { min: 1, max: 8 }, memory: { min: 2, max: 64 } },
    disallowed: { diskTypes: ["Premium_LRS"] },
    purchasePlan: { name: "plan", publisher: "acme", product: "debian" },
    features: [
      { name: "SecurityType", value: "Standard" },
      { name: "IsAcceleratedNetworkSupported", value: "True" },
      { name: "DiskControllerTypes", value: "SCSI, NVMe" },
    ],
  };
}

/** A definition keeps every property that was sent. */
async function makeImage(world) {
  const { galleryImages } = world.compute;
  const sent = imageBody();
  const made = await galleryImages.createOrUpdate(GROUP, GALLERY, IMAGE, sent);
  for (const [name, value] of Object.entries(sent)) {
    // The SDK gives members that are absent the value undefined.
    assert.deepEqual(JSON.parse(JSON.stringify(made[name])), JSON.parse(JSON.stringify(value)), name);
  }
  const { osType, osState, hyperVGeneration, identifier } = sent;
  const update = { description: "changed", osType, osState, hyperVGeneration, identifier };
  const changed = await galleryImages.update(GROUP, GALLERY, IMAGE, update);
  assert.deepEqual([changed.description, changed.eula], ["changed", sent.eula]);
  const listed = await all(galleryImages.listByGallery(GROUP, GALLERY));
  assert.deepEqual(listed.map((item) => [item.name, item.features.length]), [[IMAGE, 3]]);
  say("image definition: all properties kept, update, list");
}

/** A version of the disk for two regions. */
function versionBody(world) {
  return {
    location: HOME,
    tags: { build: "42" },
    publishingProfile: {
      targetRegions: [
        { name: "East US", regionalReplicaCount: 2, storageAccountType: "Standard_LRS" },
        { name: FAR, regionalReplicaCount: 1, storageAccountType: "Premium_LRS" },
      ],
      replicaCount: 1,
      endOfLifeDate: inDays(300),
      storageAccountType: "Standard_LRS",
    },
    safetyProfile: { allowDeletionOfReplicatedLocations: true, blockDeletionBeforeEndOfLife: true },
    storageProfile: { osDiskImage: { hostCaching: "ReadOnly", source: { id: world.sourceId } } },
  };
}

/** Name, count and storage type of a version's regions. */
function regionsOf(version) {
  const regions = version.publishingProfile.targetRegions;
  return regions.map((r) => [r.name, r.regionalReplicaCount, r.storageAccountType]);
}

/** A version is made from the disk, replicated to two regions and shown with its status. */
async function makeVersion(world) {
  const { galleryImageVersions: versions } = world.compute;
  const made = await versions.createOrUpdate(...PLACE, versionBody(world));
  assert.equal(made.provisioningState, "Succeeded");
  assert.deepEqual(regionsOf(made), [
    ["East US", 2, "Standard_LRS"],
    ["West Europe", 1, "Premium_LRS"],
  ]);
  assert.equal(made.storageProfile.osDiskImage.source.id, world.sourceId);
  assert.equal(made.safetyProfile.blockDeletionBeforeEndOfLife, true);
  assert.equal(made.replicationStatus, undefined);
  const shown = await versions.get(...PLACE, { expand: "ReplicationStatus" });
  assert.equal(shown.replicationStatus.aggregatedState, "Completed");
  const summary = shown.replicationStatus.summary.map((r) => [r.region, r.state, r.progress]);
  assert.deepEqual(summary, [
    [HOME, "Completed", 100],
    [FAR, "Completed", 100],
  ]);
  world.versionId = made.id;
  world.published = made.publishingProfile.publishedDate;
  await world.compute.disks.delete(GROUP, "source");
  say("image version: from a disk to two regions, counts, storage types, replication status");
}

/** A version changes by PATCH and by sending back what was read; the list shows it. */
async function changeVersion(world) {
  const { galleryImageVersions: versions } = world.compute;
  await refused("DeleteGalleryImageVersionBlockedBeforeEndOfLife", 409, versions.delete(...PLACE));
  const shown = await versions.get(...PLACE);
  shown.publishingProfile.targetRegions.push({ name: SPARE });
  shown.safetyProfile.blockDeletionBeforeEndOfLife = false;
  const more = await versions.createOrUpdate(...PLACE, shown);
  assert.deepEqual(regionsOf(more).map(([name]) => name), ["East US", "West Europe", "West US 2"]);
  const targetRegions = [{ name: HOME, regionalReplicaCount: 3 }, { name: FAR }];
  const update = { tags: { build: "43" }, publishingProfile: { targetRegions } };
  const changed = await versions.update(...PLACE, update);
  assert.deepEqual(regionsOf(changed), [
    ["East US", 3, "Standard_LRS"],
    ["West Europe", 1, "Premium_LRS"],
  ]);
  assert.deepEqual(changed.publishingProfile.publishedDate, world.published);
  const listed = await all(versions.listByGalleryImage(GROUP, GALLERY, IMAGE));
  assert.deepEqual(listed.map((item) => [item.name, item.tags]), [[VERSION, { build: "43" }]]);
  say("image version: protected, region added by PUT, removed by PATCH, list");
}

/** A disk of the version in the far region comes out with the bytes that went in. */
async function makeAndDownloadDisk(world) {
  const { disks } = world.compute;
  const creationData = { createOption: "FromImage", galleryImageReference: { id: world.versionId } };
  const made = await disks.createOrUpdate(GROUP, "far", { location: FAR, creationData });
  assert.deepEqual([made.provisioningState, made.diskState, made.osType], ["Succeeded", "Unattached", "Linux"]);
  assert.deepEqual([made.hyperVGeneration, made.location], ["V2", FAR]);
  const wanted = { access: "Read", durationInSeconds: 3600 };
  const { accessSAS } = await disks.grantAccess(GROUP, "far", wanted);
  assert.equal((await disks.get(GROUP, "far")).diskState, "ActiveSAS");
  const blob = new PageBlobClient(accessSAS);
  const held = await heldBytes(blob);
  assert.ok(held > 0 && held < (world.vhd.length * 3) / 4, `${held} bytes held`);
  const vhd = await blob.downloadToBuffer();
  assert.equal(vhd.length, world.vhd.length);
  assert.equal(digestOf(vhd), digestOf(world.vhd));
  await disks.revokeAccess(GROUP, "far");
  await assert.rejects(blob.downloadToBuffer(), { statusCode: 403 });
  await disks.delete(GROUP, "far");
  say("disk: from the version in the far region, downloaded with the same SHA-256, revoked");
}

/** What is wrong is refused with the service's code. */
async function refuse(world) {
  const { galleries, galleryImages, galleryImageVersions, disks } = world.compute;
  const here = { location: HOME };
  const version = versionBody(world);
  const creationData = { createOption: "FromImage", galleryImageReference: { id: world.versionId } };
  for (const [code, status, call] of [
    ["InvalidParameter", 400, () => galleries.createOrUpdate(GROUP, "has-a-dash", here)],
    ["LocationNotAvailableForResourceType", 400, () => galleries.createOrUpdate(GROUP, "lost", { location: "atlantis" })],
    ["ResourceGroupNotFound", 404, () => galleries.createOrUpdate("no-such-group", "sig", here)],
    ["ResourceNotFound", 404, () => galleries.get(GROUP, "absent")],
    ["ParentResourceNotFound", 404, () => galleryImages.createOrUpdate(GROUP, "absent", IMAGE, imageBody())],
    ["PropertyChangeNotAllowed", 409, () => galleryImages.createOrUpdate(GROUP, GALLERY, IMAGE, { ...imageBody(), osType: "Windows" })],
    ["InvalidParameter", 400, () => galleryImageVersions.createOrUpdate(GROUP, GALLERY, IMAGE, "1.0", version)],
    ["NotFound", 404, () => galleryImageVersions.createOrUpdate(GROUP, GALLERY, IMAGE, "2.0.0", version)],
    ["GalleryImageNotFound", 404, () => disks.createOrUpdate(GROUP, "lost", { location: SPARE, creationData })],
    ["CannotDeleteResource", 409, () => galleryImages.delete(GROUP, GALLERY, IMAGE)],
    ["CannotDeleteResource", 409, () => galleries.delete(GROUP, GALLERY)],
  ]) {
    await refused(code, status, call());
  }
  say("refusals: names, places, parents, immutables, sources, regions, nested resources");
}

/** With soft delete on, a version goes and comes back whole in both forms of asking. */
async function softDelete(world) {
  const { galleries, galleryImageVersions: versions, softDeletedResource } = world.compute;
  const on = await galleries.update(GROUP, GALLERY, { softDeletePolicy: { isSoftDeleteEnabled: true } });
  assert.deepEqual([on.softDeletePolicy.isSoftDeleteEnabled, on.description], [true, "changed"]);
  const deleted = () => all(softDeletedResource.listByArtifactName(GROUP, GALLERY, "Images", IMAGE));
  for (const body of [{ location: HOME }, { location: HOME, restore: true }]) {
    await versions.delete(...PLACE);
    await refused("ResourceNotFound", 404, versions.get(...PLACE));
    const [item, ...others] = await deleted();
    assert.deepEqual([item.name, item.softDeletedArtifactType, others], [VERSION, "Images", []]);
    assert.equal(item.resourceArmId.toLowerCase(), world.versionId.toLowerCase());
    const back = await versions.createOrUpdate(...PLACE, body);
    assert.equal(back.provisioningState, "Succeeded");
    assert.deepEqual(back.publishingProfile.publishedDate, world.published);
    assert.deepEqual(await deleted(), []);
  }
  await makeAndDownloadDisk(world);
  say("soft delete: gone, listed, restored by location and by restore, bytes the same");
}

/** Everything goes, from the inside out, and stays gone. */
async function deleteAll(world) {
  const { galleries, galleryImages, galleryImageVersions: versions } = world.compute;
  await galleries.update(GROUP, GALLERY, { softDeletePolicy: { isSoftDeleteEnabled: false } });
  await versions.delete(...PLACE);
  await galleryImages.delete(GROUP, GALLERY, IMAGE);
  await galleries.delete(GROUP, GALLERY);
  await refused("ResourceNotFound", 404, galleries.get(GROUP, GALLERY));
  await galleries.delete(GROUP, GALLERY);
  await deleteAccount(world);
  await world.resources.resourceGroups.beginDeleteAndWait(GROUP);
  assert.equal((await world.resources.resourceGroups.checkExistence(GROUP)).body, false);
  say("deletes: version, definition, gallery (twice), group");
}

const STEPS = [
  signIn,
  makeGroup,
  makeAccount,
  uploadVhd,
  useBlockBlobs,
  importDisk,
  uploadDisk,
  makeGallery,
  shareGallery,
  makeImage,
  makeVersion,
  changeVersion,
  makeAndDownloadDisk,
  refuse,
  softDelete,
  deleteAll,
];

const world = new World(process.argv[2], process.argv[3]);
for (const step of STEPS) await step(world);
say(`all ${STEPS.length} steps`);
