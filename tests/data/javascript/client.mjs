// The hosted platform's own client, with nothing but its address changed: `node client.mjs ADDRESS WEBHOOK`.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import Replicate, { validateWebhook } from "replicate";

const [address] = process.argv.slice(2);
const replicate = new Replicate({ auth: "anything", baseUrl: `${address}/v1` });
const own = "musicgen-service/musicgen";
const meta = "meta/musicgen:7a76a8258b23fae65c5a22debb8841d1d7e816b75c2f24218cd2bd8573787906";
const text = async (output) => (await output.blob()).text();

// run: by version, by name, with files
assert.equal(await text(await replicate.run(meta, { input: { prompt: "rock" } })), '{"prompt":"rock"}');
const [output] = await replicate.run(own, { input: { prompt: "sound" } });
assert.equal(await text(output), "sound");
const inputs = JSON.parse(
  await text(await replicate.run("meta/musicgen", { input: { prompt: "rock", input_audio: Buffer.from("RIFF") } })),
);
assert.equal(await (await fetch(inputs.input_audio)).text(), "RIFF");

// create, poll, read
const created = await replicate.predictions.create({ model: own, input: { prompt: "slow" } });
assert.equal(created.status, "starting");
const done = await replicate.wait(created, { interval: 20 });
assert.equal(done.status, "succeeded");
assert.equal(await (await fetch(done.output[0])).text(), "slow");

// cancel, list
const endless = await replicate.predictions.create({ model: own, input: { prompt: "endless" } });
assert.equal((await replicate.predictions.cancel(endless.id)).status, "canceled");
const listed = await replicate.predictions.list();
assert.deepEqual(listed.results.slice(0, 2).map(({ id }) => id), [endless.id, created.id]);

// deployments, models, files
const deployment = await replicate.deployments.predictions.create("acme", "music", { input: { prompt: "a" } });
assert.equal((await replicate.wait(deployment, { interval: 20 })).status, "succeeded");
assert.equal((await replicate.deployments.get("acme", "music")).current_release.model, "meta/musicgen");
const { latest_version } = await replicate.models.get("meta", "musicgen");
assert.equal((await replicate.models.versions.get("meta", "musicgen", latest_version.id)).id, latest_version.id);
const file = await replicate.files.create(new File(["RIFF"], "riff.wav", { type: "audio/wav" }), { take: 2 });
assert.deepEqual([file.name, file.size, file.metadata], ["riff.wav", 4, { take: 2 }]);
assert.deepEqual(await replicate.files.get(file.id), file);
assert.equal(await replicate.files.delete(file.id), true);

// errors
await assert.rejects(replicate.run(own, { input: { prompt: "fail" } }), /Prediction failed: Prediction failed: x/);
await assert.rejects(replicate.run("meta/musicgen", { input: { promt: "x" } }), /There is no input 'promt'/);
await assert.rejects(replicate.run("nobody/nothing", { input: {} }), /This service serves|this service serves/);

// webhooks
const { key } = await replicate.webhooks.default.secret.get();
const received = new Promise((resolve) => {
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.end();
    server.close();
    resolve({ headers: request.headers, body: Buffer.concat(parts).toString() });
  });
  server.listen(0, "127.0.0.1", () =>
    replicate.predictions.create({
      model: own,
      input: { prompt: "a" },
      webhook: `http://127.0.0.1:${server.address().port}/hook`,
      webhook_events_filter: ["completed"],
    }),
  );
});
const report = await received;
assert.equal(JSON.parse(report.body).status, "succeeded");
assert.equal(await validateWebhook(report, key), true);
assert.equal(await validateWebhook({ ...report, body: `${report.body} ` }, key), false);
console.log("done");
