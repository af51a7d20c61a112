// Trainings with the hosted platform's own client, with nothing but its address changed: `node trainings.mjs ADDRESS`.
import assert from "node:assert/strict";
import Replicate from "replicate";

const [address] = process.argv.slice(2);
const replicate = new Replicate({ auth: "anything", baseUrl: `${address}/v1` });
const version = "b1ec6490e57013463006e928abc7acd8d623fe3e8321d3092e1231bf006898b1";
const train = (destination, more) =>
  replicate.trainings.create("sakemin", "musicgen-fine-tuner", version, {
    destination,
    input: { dataset_path: "data:application/zip;base64,c29uZ3M=", model_version: "demo", ...more },
  });

const created = await train("me/mine", { epochs: 1, updates_per_epoch: 5 });
assert.equal(created.destination, "me/mine");
let training = created;
while (["starting", "processing"].includes(training.status)) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  training = await replicate.trainings.get(created.id);
}
assert.equal(training.status, "succeeded");
assert.match(training.output.version, /^me\/mine:[0-9a-f]{64}$/);

const endless = await train("me/other", { trigger: "endless" });
assert.equal((await replicate.trainings.cancel(endless.id)).status, "canceled");
const { results } = await replicate.trainings.list();
assert.deepEqual(results.map(({ id }) => id), [endless.id, created.id]);
await assert.rejects(train("me/third", { model_version: "tiny" }), /model_version must be one of/);
console.log("done");
