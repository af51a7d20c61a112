"""The hosted platform's newest client for Python, with nothing but its address changed: `newest_client.py ADDRESS`."""

# mypy: ignore-errors
# The client beside the tests is an older one.

import asyncio
import io
import json
import sys
import time
import urllib.request
from pathlib import Path

import replicate
from replicate import AsyncReplicate, Replicate
from replicate.exceptions import ModelError

OWN = "musicgen-service/musicgen"
META = "meta/musicgen:7a76a8258b23fae65c5a22debb8841d1d7e816b75c2f24218cd2bd8573787906"
ADDRESS = f"{sys.argv[1]}/v1"
client = Replicate(bearer_token="anything", base_url=ADDRESS)
assert replicate.__version__.startswith("2.")

# run: by version, by name, with files
assert json.loads(client.run(META, input={"prompt": "rock"}).read()) == {"prompt": "rock"}
[output] = client.run(OWN, input={"prompt": "sound"})
assert output.read() == b"sound"
inputs = json.loads(client.run("meta/musicgen", input={"prompt": "a", "input_audio": io.BytesIO(b"RIFF")}).read())
assert urllib.request.urlopen(inputs["input_audio"]).read() == b"RIFF"


async def run() -> bytes:
    [output] = await AsyncReplicate(bearer_token="anything", base_url=ADDRESS).run(OWN, input={"prompt": "later"})
    return bytes(await output.read())


assert asyncio.run(run()) == b"later"

# create, poll, read
created = client.models.predictions.create(
    model_owner="musicgen-service", model_name="musicgen", input={"prompt": "slow"}
)
assert created.status == "starting" and created.input == {"prompt": "slow"}
done = client.predictions.wait(created.id)
assert done.status == "succeeded" and done.metrics.predict_time == 0.1
assert urllib.request.urlopen(done.output[0]).read() == b"slow"

# as a function, by the client that the environment describes
music = replicate.use("meta/musicgen")
assert json.loads(Path(music(prompt="rock")).read_bytes()) == {"prompt": "rock"}

# cancel, list
endless = client.predictions.create(version=OWN, input={"prompt": "endless"})
while client.predictions.get(prediction_id=endless.id).status == "starting":
    time.sleep(0.02)
assert client.predictions.cancel(prediction_id=endless.id).status == "canceled"
assert next(found.id for found in client.predictions.list()) == endless.id

# deployments, models, files
assert client.deployments.get(deployment_owner="acme", deployment_name="music").current_release.model == "meta/musicgen"
assert (
    client.deployments.predictions.create(
        deployment_owner="acme", deployment_name="music", input={"prompt": "a"}, prefer="wait"
    ).status
    == "succeeded"
)
version = client.models.get(model_owner="meta", model_name="musicgen").latest_version
assert "prompt" in version.openapi_schema["components"]["schemas"]["Input"]["properties"]
uploaded = client.files.create(content=("riff.wav", b"RIFF", "audio/wav"))
assert client.files.get(file_id=uploaded.id).size == 4
client.files.delete(file_id=uploaded.id)

# errors
for reference, inputs, kind, sentence in (
    (OWN, {"prompt": "fail"}, ModelError, "Prediction failed: x"),
    ("meta/musicgen", {"promt": "x"}, replicate.UnprocessableEntityError, "no input 'promt'"),
    ("nobody/nothing", {}, replicate.NotFoundError, "no model 'nobody/nothing'"),
):
    try:
        client.run(reference, input=inputs)
    except kind as error:
        assert sentence in str(error), error
    else:
        raise AssertionError(reference)

assert client.webhooks.default.secret.get().key.startswith("whsec_")
print("done")
