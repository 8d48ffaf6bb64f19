// Many requests at once with the Azure SDK for JavaScript.
//
//     node parallel.mjs CREDENTIALS_JSON FIXED_VHD
//
// Versions, disks and deletes run side by side; everything that was acknowledged is there, nothing
// else, and two who write the same resource both get an answer that fits. Ends with 0 when all held.

import assert from "node:assert/strict";

import { FOOTER_BYTES, GROUP, HOME, PageBlobClient, World, all, digestOf, putPages, say } from "./world.mjs";

const [GALLERY, IMAGE, FAR] = ["parallel_sig", "debian", "westus2"];
const COUNT = 8;
const NUMBERS = Array.from({ length: COUNT }, (_, index) => index);

/** Uploads the VHD into a disk and makes a gallery with a definition. */
async function prepare(world) {
  const { disks, galleries, galleryImages } = world.compute;
  await world.resources.resourceGroups.createOrUpdate(GROUP, { location: HOME });
  const creationData = { createOption: "Upload", uploadSizeBytes: world.vhd.length };
  const body = { location: HOME, creationData };
  const wanted = { access: "Write", durationInSeconds: 3600 };
  world.sourceId = (await disks.createOrUpdate(GROUP, "source", body)).id;
  const { accessSAS } = await disks.grantAccess(GROUP, "source", wanted);
  await putPages(new PageBlobClient(accessSAS), world.vhd);
  await disks.revokeAccess(GROUP, "source");
  await galleries.createOrUpdate(GROUP, GALLERY, { location: HOME });
  await galleryImages.createOrUpdate(GROUP, GALLERY, IMAGE, {
    location: HOME,
    osType: "Linux",
    osState: "Generalized",
    hyperVGeneration: "V2",
    features: [{ name: "SecurityType", value: "Standard" }],
    identifier: { publisher: "acme", offer: "debian", sku: "12" },
  });
  say("a disk, a gallery, a definition");
}

/** Makes versions at once, each in two regions; the list has them in the order of numbers. */
async function makeVersions(world) {
  const { galleryImageVersions: versions } = world.compute;
  const body = {
    location: HOME,
    publishingProfile: { targetRegions: [{ name: HOME }, { name: FAR }] },
    storageProfile: { osDiskImage: { source: { id: world.sourceId } } },
  };
  const make = (n) => versions.createOrUpdate(GROUP, GALLERY, IMAGE, `1.${n + 5}.0`, body);
  const made = await Promise.all(NUMBERS.map(make));
  assert.ok(made.every((version) => version.provisioningState === "Succeeded"));
  const listed = await all(versions.listByGalleryImage(GROUP, GALLERY, IMAGE));
  assert.deepEqual(listed.map((v) => v.name), NUMBERS.map((n) => `1.${n + 5}.0`));
  world.versionIds = made.map((version) => version.id);
  say(`${COUNT} versions at once, each in two regions`);
}

/** Makes disks of the versions at once and downloads them at once. */
async function makeDisks(world) {
  const { disks } = world.compute;
  const make = (n) => {
    const galleryImageReference = { id: world.versionIds[n] };
    const creationData = { createOption: "FromImage", galleryImageReference };
    return disks.createOrUpdate(GROUP, `disk${n}`, { location: FAR, creationData });
  };
  const made = await Promise.all(NUMBERS.map(make));
  assert.ok(made.every((disk) => disk.diskSizeBytes === world.vhd.length - FOOTER_BYTES));
  const wanted = { access: "Read", durationInSeconds: 3600 };
  const open = (n) => disks.grantAccess(GROUP, `disk${n}`, wanted);
  const urls = await Promise.all(NUMBERS.map(open));
  assert.equal(new Set(urls.map((url) => url.accessSAS)).size, COUNT, "a URL for each");
  const read = (url) => new PageBlobClient(url.accessSAS).downloadToBuffer();
  for (const vhd of await Promise.all(urls.slice(0, 3).map(read))) {
    assert.equal(digestOf(vhd), digestOf(world.vhd));
  }
  await Promise.all(NUMBERS.map((n) => disks.revokeAccess(GROUP, `disk${n}`)));
  say(`${COUNT} disks at once, opened, read and closed at once`);
}

/** Writes one gallery from many hands: every answer is a success or a conflict, one state stays. */
async function writeTheSame(world) {
  const { galleries } = world.compute;
  const write = (n) => galleries.createOrUpdate(GROUP, GALLERY, { location: HOME, description: `by ${n}` });
  const outcomes = await Promise.allSettled(NUMBERS.map(write));
  for (const { status, reason } of outcomes) {
    assert.ok(status === "fulfilled" || reason.statusCode === 409 || reason.code === "Canceled", `${reason}`);
  }
  assert.ok(outcomes.some(({ status }) => status === "fulfilled"), "one of them came through");
  const stays = await galleries.get(GROUP, GALLERY);
  assert.equal(stays.provisioningState, "Succeeded");
  assert.match(stays.description, /^by \d$/);
  const names = (await all(galleries.list())).map((gallery) => gallery.name);
  assert.deepEqual(names, [GALLERY]);
  say(`one gallery written by ${COUNT} at once`);
}

/** Deletes everything at once, then the group. */
async function deleteAll(world) {
  const { disks, galleryImageVersions: versions } = world.compute;
  const names = await all(versions.listByGalleryImage(GROUP, GALLERY, IMAGE));
  await Promise.all([
    ...names.map((version) => versions.delete(GROUP, GALLERY, IMAGE, version.name)),
    ...NUMBERS.map((n) => disks.delete(GROUP, `disk${n}`)),
  ]);
  assert.deepEqual(await all(versions.listByGalleryImage(GROUP, GALLERY, IMAGE)), []);
  assert.deepEqual((await all(disks.list())).map((disk) => disk.name), ["source"]);
  await world.resources.resourceGroups.beginDeleteAndWait(GROUP);
  assert.equal((await world.resources.resourceGroups.checkExistence(GROUP)).body, false);
  say("everything deleted at once, the rest with the group");
}

const world = new World(process.argv[2], process.argv[3]);
for (const step of [prepare, makeVersions, makeDisks, writeTheSame, deleteAll]) await step(world);
