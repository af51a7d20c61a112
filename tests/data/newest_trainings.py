"""Trainings with the hosted platform's newest client for Python: `newest_trainings.py ADDRESS`."""

# mypy: ignore-errors
# The client beside the tests is an older one.

import sys
import time

import replicate
from replicate import Replicate

client = Replicate(bearer_token="anything", base_url=f"{sys.argv[1]}/v1")
assert replicate.__version__.startswith("2.")
FINE_TUNER = {
    "model_owner": "sakemin",
    "model_name": "musicgen-fine-tuner",
    "version_id": "b1ec6490e57013463006e928abc7acd8d623fe3e8321d3092e1231bf006898b1",
}
INPUT = {"dataset_path": "data:application/zip;base64,c29uZ3M=", "model_version": "demo"}

training = client.trainings.create(**FINE_TUNER, destination="me/mine", input=INPUT)
while training.status in ("starting", "processing"):
    time.sleep(0.05)
    training = client.trainings.get(training_id=training.id)
assert training.status == "succeeded" and training.output.version.startswith("me/mine:"), training
endless = client.trainings.create(**FINE_TUNER, destination="me/other", input=INPUT | {"trigger": "endless"})
assert client.trainings.cancel(training_id=endless.id).status == "canceled"
assert [found.id for found in client.trainings.list()] == [endless.id, training.id]
try:
    client.trainings.create(**FINE_TUNER, destination="me/third", input=INPUT | {"model_version": "tiny"})
except replicate.UnprocessableEntityError as error:
    assert "model_version must be one of" in str(error)
else:
    raise AssertionError("a model that there is none of")
print("done")
